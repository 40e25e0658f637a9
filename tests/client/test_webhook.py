"""The webhook receiver with requests signed by the official library, and forged ones."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests
from standardwebhooks import Webhook

from keyturn.client.webhooks import receiver as webhook
from keyturn.client.webhooks.asgi import asgi_app
from keyturn.client.webhooks.receiver import BODY_LIMIT, Receiver, wsgi_app
from keyturn.core.errors import Denied, Invalid
from keyturn.core.notifications.notices import NOTICE_PATH, SECRET_REVOKED, SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import Sensitive

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NEXT_KEY = Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
BODY = NOTICE.to_json().encode()
ID = message_id(NOTICE.secret_path, NOTICE.version, NOTICE.event)


def signed(body: bytes = BODY, key: Sensitive = KEY, age: timedelta = timedelta(), sent_id: str = ID) -> dict[str, str]:
    at = datetime.now(UTC) - age
    return {
        "Webhook-Id": sent_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(key.reveal()).sign(sent_id, at, body.decode()),
    }


class Application:
    """Notes what it is told, and fails when it is asked to."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.fails = False

    def __call__(self, notice: Notice) -> None:
        self.told.append(notice)
        if self.fails:
            raise RuntimeError("could not log in with hunter2")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver([KEY])


@pytest.fixture
def application() -> Application:
    return Application()


def test_a_signed_notice_is_received(receiver: Receiver) -> None:
    assert receiver.receive(signed(), BODY) == NOTICE


def test_a_changed_body_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Denied, match="signature"):
        receiver.receive(signed(), BODY.replace(b"7", b"8"))


def test_a_signature_of_another_key_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Denied):
        receiver.receive(signed(key=NEXT_KEY), BODY)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_a_message_from_another_time_is_refused(receiver: Receiver, age: timedelta) -> None:
    with pytest.raises(Denied):
        receiver.receive(signed(age=age), BODY)


@pytest.mark.parametrize("missing", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_request_without_one_of_the_headers_is_refused(receiver: Receiver, missing: str) -> None:
    headers = {name: text for name, text in signed().items() if name != missing}
    with pytest.raises(Denied):
        receiver.receive(headers, BODY)


@pytest.mark.parametrize("signature", ["", "v1", "v1,", "v1,a", "v1,é", "v2,abc", ",,,", "v1,a,b"])
def test_a_malformed_signature_is_refused(receiver: Receiver, signature: str) -> None:
    with pytest.raises(Denied):
        receiver.receive({**signed(), "Webhook-Signature": signature}, BODY)


def test_a_body_that_is_no_text_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Denied):
        receiver.receive(signed(), b"\xff\xfe")


def test_a_body_that_is_too_large_is_refused_whoever_signed_it(receiver: Receiver) -> None:
    body = b" " * (BODY_LIMIT + 1)
    with pytest.raises(Invalid, match=str(BODY_LIMIT)):
        receiver.receive(signed(body), body)


def test_a_signed_body_that_is_no_notice_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="version"):
        receiver.receive(signed(b'{"event":"e","secret_path":"p"}'), b'{"event":"e","secret_path":"p"}')


@pytest.mark.parametrize("keys", [[], [Sensitive("")], [Sensitive("whsec_a")]])
def test_without_a_usable_key_everything_is_refused(keys: list[Sensitive]) -> None:
    with pytest.raises(Denied):
        Receiver(keys).receive(signed(), BODY)


def test_while_a_key_is_replaced_both_are_accepted() -> None:
    held = [KEY]
    receiver = Receiver(lambda: held)
    with pytest.raises(Denied):
        receiver.receive(signed(key=NEXT_KEY), BODY)
    held.append(NEXT_KEY)
    assert receiver.receive(signed(key=KEY), BODY) == receiver.receive(signed(key=NEXT_KEY), BODY)
    held.remove(KEY)
    with pytest.raises(Denied):
        receiver.receive(signed(key=KEY), BODY)


def test_a_handled_notice_is_answered_200_and_a_repeat_too_without_handling_it_again(
    receiver: Receiver, application: Application
) -> None:
    assert receiver.handle(signed(), BODY, application) == 200
    assert receiver.handle(signed(), BODY, application) == 200
    assert application.told == [NOTICE]


def test_a_revocation_of_a_version_is_no_repeat_of_its_rotation(receiver: Receiver, application: Application) -> None:
    revoked = replace(NOTICE, event=SECRET_REVOKED)
    body, sent_id = revoked.to_json().encode(), message_id(revoked.secret_path, revoked.version, revoked.event)
    assert receiver.handle(signed(), BODY, application) == 200
    assert receiver.handle(signed(body, sent_id=sent_id), body, application) == 200
    assert application.told == [NOTICE, revoked]


def test_a_notice_whose_handling_failed_is_answered_503_and_handled_when_it_comes_again(
    receiver: Receiver, application: Application
) -> None:
    application.fails = True
    assert receiver.handle(signed(), BODY, application) == 503
    application.fails = False
    assert receiver.handle(signed(), BODY, application) == 200
    assert application.told == [NOTICE, NOTICE]


def test_what_the_application_raised_is_logged_by_its_class_alone(
    receiver: Receiver, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    application.fails = True
    with caplog.at_level(logging.DEBUG):
        receiver.handle(signed(), BODY, application)
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_is_refused_reaches_no_application(receiver: Receiver, application: Application) -> None:
    assert receiver.handle(signed(b"{}"), b"{}", application) == 400
    assert receiver.handle(signed(key=NEXT_KEY), BODY, application) == 401
    assert application.told == []


def test_a_second_name_for_the_id_header_does_not_pass_a_repeat_as_new(
    receiver: Receiver, application: Application
) -> None:
    receiver.handle(signed(), BODY, application)
    assert receiver.handle({"webhook-id": "msg_other", **signed()}, BODY, application) == 200
    assert len(application.told) == 1


def test_a_repeat_that_comes_while_the_first_is_handled_is_told_to_come_again(receiver: Receiver) -> None:
    inside, may_end = threading.Event(), threading.Event()
    answers: list[HTTPStatus] = []

    def slow(_: Notice) -> None:
        inside.set()
        assert may_end.wait(10)

    first = threading.Thread(target=lambda: answers.append(receiver.handle(signed(), BODY, slow)))
    first.start()
    assert inside.wait(10)
    assert receiver.handle(signed(), BODY, slow) == 503
    may_end.set()
    first.join()
    assert [*answers, receiver.handle(signed(), BODY, slow)] == [200, 200]


def test_of_many_deliveries_at_once_one_is_handled(receiver: Receiver, application: Application) -> None:
    together = threading.Barrier(8)

    def deliver() -> None:
        together.wait()
        receiver.handle(signed(), BODY, application)

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert application.told == [NOTICE]


def test_memory_is_bounded_and_the_oldest_is_forgotten_first(
    receiver: Receiver, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "REMEMBERED", 2)
    for sent_id in ("msg_1", "msg_2", "msg_3", "msg_3", "msg_2", "msg_1"):
        receiver.handle(signed(sent_id=sent_id), BODY, application)
    assert len(application.told) == 4


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(receiver: Receiver, application: Application) -> Iterator[str]:
    with make_server("127.0.0.1", 0, wsgi_app(receiver, application), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_wsgi_application_answers_as_the_receiver_does(served: str, application: Application) -> None:
    url = served + NOTICE_PATH
    assert requests.post(url, data=BODY, headers=signed(), timeout=5).status_code == 200
    assert requests.post(url, data=BODY, headers=signed(key=NEXT_KEY), timeout=5).status_code == 401
    assert requests.post(url, data=b"{}", headers=signed(b"{}"), timeout=5).status_code == 400
    application.fails = True
    assert requests.post(url, data=BODY, headers=signed(sent_id="msg_2"), timeout=5).status_code == 503
    assert application.told == [NOTICE, NOTICE]


def test_the_wsgi_application_knows_one_address_and_one_method(served: str, application: Application) -> None:
    assert requests.post(served + "/", data=BODY, headers=signed(), timeout=5).status_code == 404
    assert requests.get(served + NOTICE_PATH, timeout=5).status_code == 405
    chunked = requests.post(served + NOTICE_PATH, data=iter([BODY]), headers=signed(), timeout=5)
    assert chunked.status_code == 411
    assert application.told == []


def asked(receiver: Receiver, application: Application, parts: list[bytes], **scope: Any) -> int:
    """The status that the ASGI application answers to a body that comes in these parts."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming = iter([*messages, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), text.encode()) for name, text in signed(b"".join(parts)).items()]
    request = {"type": "http", "path": NOTICE_PATH, "method": "POST", "headers": headers, **scope}
    asyncio.run(asgi_app(receiver, application)(request, receive, send))
    return int(sent[0]["status"])


def test_the_asgi_application_answers_as_the_receiver_does(receiver: Receiver, application: Application) -> None:
    assert asked(receiver, application, [BODY[:10], BODY[10:]]) == 200
    assert asked(receiver, application, [b"{}"]) == 400
    assert asked(receiver, application, [b" " * BODY_LIMIT, b" ", b"never read"]) == 400
    assert asked(receiver, application, [BODY], headers=[]) == 401
    assert asked(receiver, application, [BODY], path="/") == 404
    assert asked(receiver, application, [BODY], method="GET") == 405
    assert application.told == [NOTICE]


def test_importing_the_client_loads_no_sdk() -> None:
    script = "import json, sys, keyturn.client.webhooks.receiver; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script], text=True))
    assert not {"requests", "hvac", "boto3", "azure", "google", "prefect", "pydantic"} & set(loaded)
