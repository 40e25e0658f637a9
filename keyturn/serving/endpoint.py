"""The HTTP endpoint of a serving process: health, metrics, posted events and the dashboard."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from socket import socket
from ssl import SSLContext
from typing import Any, Final

from keyturn.agent.caller_auth import names_this_host
from keyturn.agent.http import JSON, Door, Handler, HttpAnswer, HttpRequest, Server
from keyturn.serving.dashboard_door import PATHS
from keyturn.serving.numbers.process import Serving
from keyturn.serving.supervisor import PartState

log = logging.getLogger(__name__)

HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
METRICS: Final = "/metrics"
ACCESSES: Final = "/v1/accesses"
GRACE: Final = 2.0
"""Seconds for running requests at the end."""

WELL: Final = HttpAnswer(HTTPStatus.OK, "ok\n")
ABSENT: Final = HttpAnswer(HTTPStatus.NOT_FOUND, "not found\n")
LOGIN_NEEDED: Final = HttpAnswer(HTTPStatus.UNAUTHORIZED, "log in\n", headers=(("www-authenticate", "Bearer"),))
NOT_ALLOWED: Final = HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "not allowed\n")
OTHER_HOST: Final = HttpAnswer(HTTPStatus.MISDIRECTED_REQUEST, "another host\n")
FAILED: Final = HttpAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed\n")


class Endpoint:
    """Answers requests: ``metrics`` for Prometheus, ``post`` for posted events, ``dashboard`` for the page.

    ``admit`` decides who may read the metrics. A missing handler leaves its address empty. With ``local``, the
    request's host must be a name of this machine, because a browser page can send requests under its own name (DNS
    rebinding).
    """

    def __init__(
        self,
        serving: Serving,
        metrics: Callable[[], str] | None = None,
        post: Handler | None = None,
        dashboard: Handler | None = None,
        *,
        local: bool = True,
        admit: Callable[[HttpRequest], bool] | None = None,
    ) -> None:
        self._serving = serving
        self._admit = admit or (lambda _: local)
        self._post = post
        self._dashboard = dashboard
        self._local = local
        self._pages: dict[str, Callable[[], HttpAnswer]] = {HEALTHZ: lambda: WELL, READYZ: self._ready}
        if metrics:
            self._pages[METRICS] = lambda: HttpAnswer(HTTPStatus.OK, metrics())

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to one request."""
        try:
            return await self._answer(request)
        except Exception as error:  # noqa: BLE001 - its text may hold anything
            log.error("a request failed: %s", type(error).__name__)
            return FAILED

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        if self._local and not all(names_this_host(host) for host in request.values("host")):
            return OTHER_HOST
        if request.path == ACCESSES and self._post:
            return await self._post(request) if request.method == "POST" else NOT_ALLOWED
        if request.path in PATHS and self._dashboard:
            return await self._dashboard(request)
        page = self._pages.get(request.path)
        if page is None:
            return ABSENT
        if request.path == METRICS and not self._admit(request):
            return LOGIN_NEEDED
        return page() if request.method in ("GET", "HEAD") else NOT_ALLOWED

    def _ready(self) -> HttpAnswer:
        states = self._serving.parts()
        ready = all(state.well for state in states.values())
        body = {"ready": ready, "parts": {name: part_data(state) for name, state in states.items()}}
        return HttpAnswer(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, f"{json.dumps(body)}\n", JSON)


def part_data(state: PartState) -> Mapping[str, Any]:
    """Return a part's public state. Problems are only in the process's log."""
    lag = None if state.health.lag is None else round(state.health.lag, 1)
    return {"running": state.running, "well": state.well, "lag_seconds": lag, "failures": state.failures}


@contextmanager
def answering(listener: socket, handler: Handler, tls: Callable[[], SSLContext] | None = None) -> Iterator[None]:
    """Answer connections to ``listener`` in another thread, until the context ends."""
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    async def serve_door() -> None:
        server = Server()
        server.open(Door(listener, handler, tls))
        await ended.wait()
        await server.close(GRACE)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve_door())

    thread = threading.Thread(target=work, name="keyturn-endpoint", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(ended.set)
        thread.join(GRACE + 1)
