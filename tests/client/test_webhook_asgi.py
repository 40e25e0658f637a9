"""The receiver as an ASGI application: a loop that goes on meanwhile, a body that drips, a server that asks."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from keyturn.client.client import SecretClient
from keyturn.client.webhooks import asgi as webhook_asgi
from keyturn.client.webhooks.asgi import asgi_app
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.notifications.notices import NOTICE_PATH, SECRET_ROTATED, Notice, message_id
from tests.client.test_webhook import BODY, KEY, Application, signed
from tests.support.served import MADE, MemorySource


@pytest.fixture
def application() -> Application:
    return Application()


async def test_the_loop_goes_on_while_a_notice_is_taken() -> None:
    loop, taken, going_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(_: Notice) -> None:
        loop.call_soon_threadsafe(taken.set)
        assert going_on.wait(30)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi_app(Receiver([KEY]), slow))) as client:
        posted = asyncio.create_task(client.post(f"http://consumer{NOTICE_PATH}", content=BODY, headers=signed()))
        await asyncio.wait_for(taken.wait(), 30)
        going_on.set()
        assert (await posted).status_code == 200


async def test_what_is_in_use_is_there_when_it_is_acknowledged() -> None:
    source = MemorySource(a=1)
    with SecretClient([source], poll=0) as secrets:
        secrets.get("a")
        source.served["a"] = 2
        body = Notice(SECRET_ROTATED, "a", 2, MADE).to_json().encode()
        transport = httpx.ASGITransport(asgi_app(Receiver([KEY]), secrets.told))
        async with httpx.AsyncClient(transport=transport, base_url="http://consumer") as client:
            headers = signed(body, sent_id=message_id("a", 2, SECRET_ROTATED))
            assert (await client.post(NOTICE_PATH, content=body, headers=headers)).status_code == 200
        kept = secrets.kept("a")
        assert kept
        assert kept.version == 2


async def test_a_body_that_does_not_arrive_is_waited_for_no_longer_than_that(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_asgi, "BODY_TIMEOUT", 0.01)
    assert await answers({"type": "http", "path": NOTICE_PATH, "method": "POST", "headers": []}, application) == [408]


async def test_a_server_that_asks_hears_that_it_may_begin_and_end(application: Application) -> None:
    asked = ["lifespan.startup", "lifespan.shutdown"]
    assert await answers({"type": "lifespan"}, application, *asked) == [f"{each}.complete" for each in asked]


async def answers(scope: dict[str, Any], application: Application, *asked: str) -> list[Any]:
    """What is said to a server that sends these, and then nothing more."""
    said: list[Any] = []
    left = [*asked]

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return {"type": left.pop(0)}

    async def send(message: Any) -> None:
        if message["type"] != "http.response.body":
            said.append(message.get("status", message["type"]))

    await asgi_app(Receiver([KEY]), application)(scope, receive, send)
    return said
