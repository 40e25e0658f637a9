"""SQLite write conflicts are retried within milliseconds, and other errors are unchanged."""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deployments.busy_database import LONGEST, TriedAgain

REFUSED = {"exception_message": "Service Unavailable"}


class Server:
    """Answers one after the other of ``answers``; as Starlette it raises an error once it has answered for it."""

    def __init__(self, answers: Iterable[Response]) -> None:
        self._answers = iter(answers)
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["seen"] = scope["state"].get("seen", 0) + 1
        assert scope["state"]["seen"] == 1
        self.bodies.append(await Request(scope, receive).body())
        answer = next(self._answers)
        await answer(scope, receive, send)
        if answer.status_code == 503:
            raise sqlite3.OperationalError("database is locked")


def busy(**differs: Any) -> Response:
    """What Prefect's server says of a transaction that it has undone."""
    return JSONResponse(REFUSED | differs, status_code=503)


def status_of(server: Server, *parts: bytes, tries: int = 3) -> list[int]:
    """The answers' status that a client gets which sends these parts of a body."""
    sent: list[dict[str, Any]] = []
    coming = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, start=1)
    ]

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return coming.pop(0)

    scope: Any = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {}}
    with suppress(sqlite3.OperationalError):
        asyncio.run(TriedAgain(server, [0.0] * (tries - 1))(scope, receive, send))
    return [message["status"] for message in sent if message["type"] == "http.response.start"]


def test_a_write_that_met_another_is_done_again_with_all_that_was_sent() -> None:
    server = Server([busy(), busy(), Response("done", 201)])
    assert status_of(server, b"first ", b"second") == [201]
    assert server.bodies == [b"first second"] * 3


def test_a_database_that_stays_busy_is_told_of_once() -> None:
    server = Server([busy()] * 3)
    assert status_of(server, b"{}") == [503]
    assert len(server.bodies) == 3


@pytest.mark.parametrize("answer", [busy(more="said"), Response("no", 503), Response("wrong", 422), Response("", 204)])
def test_any_other_answer_is_passed_on(answer: Response) -> None:
    server = Server([answer, Response("never", 200)])
    assert status_of(server, b"{}") == [answer.status_code]
    assert len(server.bodies) == 1


def test_what_is_too_long_to_be_kept_has_one_try() -> None:
    server = Server([busy(), Response("never", 200)])
    assert status_of(server, b"a" * LONGEST, b"b") == [503]
    assert len(server.bodies) == 1


def test_what_fails_before_it_answers_is_raised() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def never(*_: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(TriedAgain(broken)({"type": "http"}, never, never))
