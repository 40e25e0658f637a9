"""Retries requests that Prefect's server could not serve because two SQLite writes conflicted.

SQLite rejects a transaction at once if another one wrote after its read. Prefect's server (3.9) answers 503, and its
client retries only after 2 s, 4 s and so on. PostgreSQL does not reject these.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUSY: Final = b'{"exception_message":"Service Unavailable"}'
"""Prefect's answer to a rolled-back transaction, and to nothing else."""
PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each retry; then the client receives the 503."""
LONGEST: Final = 4 * 1024 * 1024
"""Bytes of a request that are kept for a retry."""


class TriedAgain:
    """ASGI middleware that repeats a request after a write conflict."""

    def __init__(self, application: "ASGIApp", pauses: Sequence[float] = PAUSES) -> None:
        self._application = application
        self._pauses = pauses

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        body = Body(receive)
        for pause in self._pauses:
            answer = Answer(send)
            try:
                await self._application(_copied(scope), body.read_from_start(), answer.take)
            except Exception:
                # Starlette raises an error after answering it, for the log.
                if not answer.is_held:
                    raise
            if not answer.is_held:
                return None
            if not body.is_kept:
                return await answer.release()
            await asyncio.sleep(pause)
        return await self._application(scope, body.read_from_start(), send)


class Body:
    """A request body that can be read several times."""

    def __init__(self, receive: "Receive") -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._size = 0

    @property
    def is_kept(self) -> bool:
        return self._size <= LONGEST

    def read_from_start(self) -> "Receive":
        ahead = iter(list(self._kept))

        async def read() -> "Message":
            if message := next(ahead, None):
                return message
            message = await self._receive()
            if message["type"] == "http.request":
                self._size += len(message.get("body", b""))
                if self.is_kept:
                    self._kept.append(message)
            return message

        return read


class Answer:
    """Forwards an answer, or holds it back if it reports a busy database."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._start: Message | None = None
        self._held: list[Message] = []

    @property
    def is_held(self) -> bool:
        return bool(self._held)

    async def take(self, message: "Message") -> None:
        unavailable = message.get("status") == HTTPStatus.SERVICE_UNAVAILABLE
        if message["type"] == "http.response.start" and unavailable:
            self._start = message
        elif self._start and message.get("body") == BUSY and not message.get("more_body"):
            self._held = [self._start, message]
        else:
            if self._start:
                await self._send(self._start)
                self._start = None
            await self._send(message)

    async def release(self) -> None:
        for message in self._held:
            await self._send(message)


def _copied(scope: "Scope") -> MutableMapping[str, Any]:
    """A copy, because applications write to their scope and its state."""
    return {**scope, "state": dict(scope.get("state", {}))}
