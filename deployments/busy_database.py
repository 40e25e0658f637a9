"""What Prefect's server could not do because two writes met in SQLite is tried again here, within moments.

SQLite refuses a transaction at once that has read what another one writes, however long it would have waited for a
lock. Prefect's server (3.9) undoes it and answers 503, and its client tries again after 2 s, then 4 s, and so on: more
than all the rest of a run takes. PostgreSQL refuses none of these.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUSY: Final = b'{"exception_message":"Service Unavailable"}'
"""What Prefect's server says of a transaction that it has undone, and of nothing else."""
PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each further try; after the last one the client is told, and makes its own pauses."""
LONGEST: Final = 4 * 1024 * 1024
"""Bytes of a request that are kept for another try; a longer one has one."""


class TriedAgain:
    """Wraps an ASGI application: a request that has met another's write is carried out again."""

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
                # Starlette answers, and raises what it has answered for, so that it is logged.
                if not answer.is_held:
                    raise
            if not answer.is_held:
                return None
            if not body.is_kept:
                return await answer.release()
            await asyncio.sleep(pause)
        return await self._application(scope, body.read_from_start(), send)


class Body:
    """What a client sends, kept so that it can be read more than once."""

    def __init__(self, receive: "Receive") -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._size = 0

    @property
    def is_kept(self) -> bool:
        """Whether all that was read can be read again."""
        return self._size <= LONGEST

    def read_from_start(self) -> "Receive":
        """Reads what was read before, and then on."""
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
    """Passes an answer on, and holds one back that says that the database was busy."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._start: Message | None = None
        self._held: list[Message] = []

    @property
    def is_held(self) -> bool:
        """Whether nothing of it was sent, and all of it says that."""
        return bool(self._held)

    async def take(self, message: "Message") -> None:
        """Send a part of it, or hold it back."""
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
        """Send what was held back."""
        for message in self._held:
            await self._send(message)


def _copied(scope: "Scope") -> MutableMapping[str, Any]:
    """Applications write into what they are given, and into its state."""
    return {**scope, "state": dict(scope.get("state", {}))}
