"""The agent's answers: secrets in AWS's format, notices, and its health."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

from keyturn.agent import wire
from keyturn.agent.caller_auth import Entrance
from keyturn.agent.http import JSON, Handler, HttpAnswer, HttpRequest
from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.notifications.notices import HEALTH_PATH, NOTICE_PATH, Notice
from keyturn.core.text.mapping import WHOLE, Shape
from keyturn.core.text.references import Unfit

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS: Final = 32
ASKERS: Final = 16
"""Threads that ask the hub about callers, so that unknown tokens don't delay local programs."""
NOTICED: Final = 4
"""Threads that take notices, separate from those that wait for sources."""
ANSWER_SECONDS: Final = 61.0
"""The same as AWS's agent."""
STATISTICS: Final = "/statistics"
METRICS: Final = "/metrics"
LOG_PAUSE: Final = 1.0
"""Seconds between two log lines about refusals."""


@dataclass(frozen=True)
class Named:
    path: str
    name: str
    arn: str
    shape: Shape = WHOLE


class Names(Protocol):
    """Resolves callers' names of secrets."""

    def resolve(self, secret_id: str) -> Named:
        """Return the secret of a name. Raises NotFound, Invalid."""


class Agent:
    """Answers requests from one client. ``names`` is called for each; without a receiver no notice is accepted.

    ``access`` receives a line for each secret given out, ``metrics`` returns Prometheus text. ``on_notice`` takes
    notices, by default for the client.
    """

    def __init__(
        self,
        client: SecretClient,
        names: Callable[[], Names],
        receiver: Receiver | None = None,
        access: Callable[[str], object] | None = None,
        metrics: Callable[[], str] | None = None,
        on_notice: Callable[[Notice], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._names = names
        self._receiver = receiver
        self._access = access
        self._metrics = metrics
        self._on_notice = on_notice or client.told
        self._readers = ThreadPoolExecutor(READERS, "keyturn-agent")
        self._askers = ThreadPoolExecutor(ASKERS, "keyturn-callers")
        self._noticed = ThreadPoolExecutor(NOTICED, "keyturn-notices")
        self._clock = clock
        self._logged_at = float("-inf")
        self._unlogged = 0

    def behind(self, entrance: Entrance) -> Handler:
        async def answer(request: HttpRequest) -> HttpAnswer:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._answer(entrance, request)
            except wire.Refused as refusal:
                self._note(request, f"{refusal.answer.status:d} {refusal.answer.body}")
                return refusal.answer
            except KeyturnError as error:
                # A caller may have pasted a value as the name.
                self._note(request, type(error).__name__ if isinstance(error, NotFound) else str(error))
                return wire.refusal_of(error)
            except TimeoutError:
                self._note(request, f"no answer within {ANSWER_SECONDS:g} s")
                return wire.TOO_SLOW
            except Exception as error:  # noqa: BLE001 - its text may hold anything
                log.error("a request failed: %s", type(error).__name__)
                return wire.FAILED

        return answer

    async def ask(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._askers, function, *arguments)

    def close(self) -> None:
        """End the threads without waiting."""
        for threads in (self._readers, self._askers, self._noticed):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, entrance: Entrance, request: HttpRequest) -> HttpAnswer:
        if request.path == NOTICE_PATH and self._receiver:
            return await self._take_notice(self._receiver, request)
        if request.path in (wire.PING, HEALTH_PATH):
            return wire.HEALTHY if request.method == "GET" else wire.NOT_ALLOWED
        entrance.admit(request)
        if request.method != "GET":
            return wire.NOT_ALLOWED
        if entrance.local and (numbers := self._numbers(request.path)):
            return numbers
        wanted = wire.wanted_by(request.path, request.query)
        if wanted is None:
            return wire.NO_SUCH_PLACE
        return await self._give(entrance, request, wanted)

    async def _give(self, entrance: Entrance, request: HttpRequest, wanted: wire.Wanted) -> HttpAnswer:
        named = self._names().resolve(wanted.secret_id)
        wire.insist_on_path(named.path)
        # Checked before any lookup, so that the answer's timing does not show what is kept.
        await entrance.insist_on_right(request, named.path)
        secret = await self._read(named.path, wanted.refresh)
        wire.insist_on_version(wanted, secret)
        try:
            text = named.shape.render(secret.fields)
        except Unfit as error:
            raise NotFound("read", named.name, str(error)) from None
        if self._access:
            self._access(f"{request.peer or 'this host'} was given {named.path}, version {secret.version or '?'}")
        return wire.answer_of(secret, named.name, named.arn, text.reveal())

    async def _read(self, path: str, refresh: bool) -> Secret:
        secret = None if refresh else self._client.kept(path)
        read = self._client.refresh if refresh else self._client.get
        if secret is None:
            secret = await asyncio.get_running_loop().run_in_executor(self._readers, read, path)
        return secret

    def _numbers(self, path: str) -> HttpAnswer | None:
        if path == STATISTICS:
            return HttpAnswer(HTTPStatus.OK, json.dumps(self._client.statistics.shown()), JSON)
        return HttpAnswer(HTTPStatus.OK, self._metrics()) if path == METRICS and self._metrics else None

    async def _take_notice(self, receiver: Receiver, request: HttpRequest) -> HttpAnswer:
        if request.method != "POST":
            return wire.NOT_ALLOWED
        loop, headers = asyncio.get_running_loop(), dict(request.headers)
        return HttpAnswer(
            await loop.run_in_executor(self._noticed, receiver.handle, headers, request.body, self._on_notice)
        )

    def _note(self, request: HttpRequest, why: str) -> None:
        now = self._clock()
        if now - self._logged_at < LOG_PAUSE:
            self._unlogged += 1
            return
        more = f" (and {self._unlogged} more)" if self._unlogged else ""
        log.warning("refused %s: %s%s", request.peer or "this host", why, more)
        self._logged_at, self._unlogged = now, 0
