"""One request to a service and its answer, passed on piece by piece as they arrive."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from keyturn.agent.http import HttpRequest
from keyturn.agent.proxy import failures
from keyturn.agent.proxy.failures import ProxyFailure
from keyturn.agent.proxy.limits import Meter
from keyturn.agent.proxy.mask import Mask
from keyturn.agent.proxy.routes import CONNECTION, WITHHELD, Header, Route
from keyturn.agent.proxy.service_link import AHEAD, BODILESS, ServiceLink, ServiceLinks, Unreachable

REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be sent twice (RFC 9110, 9.2.2)."""
PROXY_LOGIN: Final = 407
_KEPT_BACK: Final = frozenset(name.encode("ascii") for name in CONNECTION | WITHHELD) - {b"content-length"}


class Answering(Protocol):
    """The client's side."""

    version: str
    """The HTTP version of its request."""
    closes: bool
    """Whether its connection is closed after the answer."""

    def close_after(self) -> None:
        """Close the connection after the answer, whose end that is."""

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""

    def pause(self, *, paused: bool) -> None:
        """Whether to read no more of the request for now."""

    def finish(self, failure: ProxyFailure | None, *, begun: bool) -> None:
        """The exchange is over. A failure is answered, unless the service's answer has ``begun``."""


class Exchange:
    """Passes one request on. ``target`` is what follows the service's authority in the address.

    :meth:`begin` comes first, then the request's body; :meth:`cut` ends it at any time.
    """

    def __init__(self, client: Answering, request: HttpRequest, route: Route, target: str, meter: Meter) -> None:
        self.route = route
        self.method = request.method
        self.meter = meter
        self.status = 0
        self._client = client
        self._request = request
        self._target = target
        self._lengths = request.values("content-length")
        self._chunked = bool(request.values("transfer-encoding"))
        # A short request is sent in one piece, which costs both sides less.
        self._short = bool(self._lengths) and int(self._lengths[0]) <= AHEAD
        self._pending: list[bytes] = []
        self._sent = False
        self._repeat = b""
        self._out: list[bytes] = []
        self._link: ServiceLink | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._received = self._too_large = self._chunked_answer = False
        self.over = False
        settings, self._loop = route.settings, asyncio.get_running_loop()
        self._active = self._loop.time()
        self._end = self._active + settings.longest.total_seconds()
        self._pause = settings.answer_within.total_seconds()
        self._timer = self._loop.call_at(min(self._end, self._active + self._pause), self._look)

    def begin(self, links: ServiceLinks, credential: Header, secrets: Sequence[bytes]) -> None:
        """Send the request with this credential, whose ``secrets`` never appear in the answer."""
        self._links, self._mask = links, Mask(secrets)
        self._pending.insert(0, self._head(credential))
        if link := links.take(self.route.place):
            self._use(link)
        else:
            self._connecting = self._loop.create_task(self._connect())

    def cut(self, cause: ProxyFailure) -> None:
        """End it now, for this reason."""
        if self.over:
            return
        self.over = True
        self._timer.cancel()
        if self._connecting:
            self._connecting.cancel()
        if self._link:
            self._link.abort()
        self._link, self._pending = None, []
        self.meter.end()
        begun, self.status = bool(self.status), self.status or cause.status
        self._client.finish(cause, begun=begun)

    # --- from the client

    def body(self, data: bytes) -> None:
        """Pass a piece of the request on."""
        if self.over or self._too_large:
            return
        self.meter.sent += len(data)
        if self.meter.sent > self.route.settings.limits.request_bytes:
            self._too_large = True
            return
        self._pending.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._link is None and not self._short and self.meter.sent > AHEAD:
            self._client.pause(paused=True)

    def ended(self) -> None:
        """The request is complete."""
        self._received = True
        if self._chunked:
            self._pending.append(b"0\r\n\r\n")

    def push(self) -> None:
        """Send what has been passed on."""
        if self._too_large and not self.over:
            self.cut(failures.body_too_large(self.route.name))
        if self._link is None or not self._pending or (self._short and not self._received):
            return
        self._active = self._loop.time()
        data = b"".join(self._pending)
        self._pending.clear()
        # A whole request is kept, in case the service has just closed this connection.
        whole = self._link.used and self._received and not self._sent and self.method in REPEATABLE
        self._repeat = data if whole else b""
        self._sent = True
        self._link.send(data)

    # --- from the service

    def answered(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """Begin the answer."""
        self._active = self._loop.time()
        names = {name: text.strip().lower() for name, text in headers}
        if status == PROXY_LOGIN:
            return self._refuse("it asks for a proxy's login")
        if names.get(b"content-encoding", b"identity") not in (b"", b"identity"):
            return self._refuse("its answer is compressed, which was not asked for")
        if names.get(b"transfer-encoding", b"chunked") != b"chunked":
            return self._refuse("its answer has an unknown encoding")
        own = {part.strip() for part in names.get(b"connection", b"").split(b",")}
        passed = [(name, text) for name, text in headers if name not in _KEPT_BACK and name not in own]
        self.status = status
        self.meter.begin(passed, status)
        bodiless = self.method == "HEAD" or status in BODILESS
        self._chunked_answer = b"content-length" not in names and not bodiless and self._client.version == "1.1"
        lines = [b"HTTP/1.1 %d %b" % (status, self._mask.cover(reason))]
        lines += [b"%b: %b" % (name, self._shown(name, text)) for name, text in passed]
        if self._chunked_answer:
            lines.append(b"transfer-encoding: chunked")
        elif b"content-length" not in names and not bodiless:
            self._client.close_after()
        if self._client.closes:
            lines.append(b"connection: close")
        self._out.append(b"\r\n".join(lines) + b"\r\n\r\n")
        return None

    def returned(self, data: bytes) -> None:
        """Pass a piece of the answer on."""
        self._return(self._mask.pass_on(data))

    def completed(self) -> None:
        """End the answer, and the exchange."""
        self._return(self._mask.end())
        if self._chunked_answer:
            self._out.append(b"0\r\n\r\n")
        self.meter.end()
        self.over = True  # before the flush, which may find the client slow: the connection is not paused any more
        self._timer.cancel()
        self.flush()
        if self._link and self._received:
            self._links.give_back(self._link)
        elif self._link:
            self._link.abort()
        self._client.finish(None, begun=True)

    def broke(self, problem: str, *, unanswered: bool) -> None:
        """Send the request again if the service never had it; otherwise fail."""
        self._link = None
        if unanswered and self._repeat:
            self._pending, self._repeat, self._sent = [self._repeat], b"", False
            self._connecting = self._loop.create_task(self._connect())
        else:
            self._refuse(problem)

    def flush(self) -> None:
        """Send what has been returned."""
        if self._out:
            self._active = self._loop.time()
            self._client.write(b"".join(self._out))
            self._out.clear()

    def hold(self, *, full: bool) -> None:
        """Read no more of the request while the service is slow."""
        self._client.pause(paused=full)

    def hold_answer(self, *, full: bool) -> None:
        """Read no more of the answer while the client is slow."""
        if self._link and not self.over:
            self._link.pause(paused=full)

    def _return(self, data: bytes) -> None:
        if data:
            self.meter.received(data)
            self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_answer else data)

    def _shown(self, name: bytes, text: bytes) -> bytes:
        if name == b"location":
            text = self.route.location(text.decode("latin-1")).encode("latin-1", "replace")
        return self._mask.cover(text)

    def _refuse(self, problem: str) -> None:
        self.cut(failures.bad_answer(self.route.name, problem))

    async def _connect(self) -> None:
        try:
            link = await self._links.connect(self.route.place)
        except Unreachable as error:
            self._connecting = None
            self._refuse(str(error))
        else:
            self._connecting = None
            self._use(link)
            self._client.pause(paused=False)
            self.push()

    def _use(self, link: ServiceLink) -> None:
        self._link = link
        link.open(self)

    def _head(self, credential: Header) -> bytes:
        request = self._request
        framing = [(b"content-length", text.encode("ascii")) for text in self._lengths]
        framing += [(b"transfer-encoding", b"chunked")] if self._chunked else []
        headers = (*self.route.fixed, *self.route.headers(request.headers), *framing, credential)
        first = f"{request.method} {self._target} HTTP/1.1".encode("ascii")
        return b"\r\n".join((first, *(b"%b: %b" % pair for pair in headers))) + b"\r\n\r\n"

    def _look(self) -> None:
        """End it after its time, or without progress."""
        due = min(self._end, self._active + self._pause)
        if due <= self._loop.time():
            self.cut(failures.too_slow(self.route.name))
        else:
            self._timer = self._loop.call_at(due, self._look)
