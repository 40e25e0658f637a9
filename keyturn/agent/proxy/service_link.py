"""Connections to services, kept open for further requests. httptools parses what they answer."""

import asyncio
import logging
import ssl
from collections import defaultdict, deque
from typing import Final, Protocol, cast

import httptools

from keyturn.agent.proxy.routes import Header, Origin
from keyturn.core.hosts import refuses_host

log = logging.getLogger(__name__)

HEAD_BYTES: Final = 65_536
"""Bytes of an answer's status line and headers, interim answers included."""
AHEAD: Final = 65_536
"""Bytes that wait for a slow service before its client is read no further."""
CONNECT_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 4.0
"""Seconds for which an unused connection is kept: below the 5 s after which uvicorn and Node.js close theirs."""
IDLE_MOST: Final = 64
"""Unused connections for each service."""
FIRST_FINAL: Final = 200
BODILESS: Final = frozenset({204, 304})
BROKE_OFF: Final = "it closed the connection before the end of its answer"
FRAMING: Final = "its answer is no valid HTTP/1.1"


class Unreachable(Exception):
    """A service can't be reached. The text is for the caller."""


class AnswerListener(Protocol):
    """Hears what a service answers to one request. None of the calls may raise."""

    method: str

    def answered(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """The head of the final answer."""

    def returned(self, data: bytes) -> None:
        """A piece of its body."""

    def completed(self) -> None:
        """Its end."""

    def broke(self, problem: str, *, unanswered: bool) -> None:
        """The connection is lost or can't be used; ``unanswered`` if nothing had arrived."""

    def flush(self) -> None:
        """No more has arrived for now."""

    def hold(self, *, full: bool) -> None:
        """Whether to read no more of the request for now."""


class ServiceLink(asyncio.Protocol):
    """A connection to a service, for one request at a time."""

    _headers: list[Header]
    _reason: bytes
    _final: bool
    _done: bool
    _until_end: bool

    def __init__(self, place: Origin) -> None:
        self.place = place
        self.used = False
        """Whether it has carried a request before."""
        self.idle_since = 0.0
        self._listener: AnswerListener | None = None
        self._fit = True
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def open(self, listener: AnswerListener) -> None:
        """Begin a request."""
        self._listener = listener
        self._begin()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def pause(self, *, paused: bool) -> None:
        """Whether to read no more of the answer for now."""
        if not self._transport.is_closing():
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def abort(self) -> None:
        self._listener, self._fit = None, False
        self._transport.abort()

    def release(self) -> bool:
        """End a request; whether the connection can carry another one."""
        self._listener, self.used = None, True
        self.pause(paused=False)
        return self._fit

    def is_fit(self, now: float) -> bool:
        """Whether a request may be sent: it is open, recent, and the service has sent nothing unasked."""
        return self._fit and now - self.idle_since <= IDLE_SECONDS

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(AHEAD)

    def data_received(self, data: bytes) -> None:
        if self._listener is None:
            self._fit = False
            self._transport.abort()
            return
        if not self._final:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            log.error("an answer failed: %s", type(error.__context__).__name__)
            self._fail(FRAMING)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(FRAMING)
        if self._listener and not self._final and self._head_bytes > HEAD_BYTES:
            self._fail(FRAMING)
        if self._listener:
            self._listener.flush()

    def eof_received(self) -> None:
        self._fit = False
        if self._listener and self._final and self._until_end:
            self._listener.completed()
        else:
            self._fail(BROKE_OFF)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fit = False
        self._fail(BROKE_OFF)

    def pause_writing(self) -> None:
        if self._listener:
            self._listener.hold(full=True)

    def resume_writing(self) -> None:
        if self._listener:
            self._listener.hold(full=False)

    # --- httptools

    def on_message_begin(self) -> None:
        if self._done:
            self._fit = False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, text: bytes) -> None:
        if not self._final:
            self._headers.append((name.lower(), text))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._done or status < FIRST_FINAL:
            self._headers, self._reason = [], b""
            return
        self._final = True
        names = {name for name, _ in self._headers}
        framed = b"content-length" in names or b"transfer-encoding" in names
        self._until_end = not framed and status not in BODILESS
        self._fit = self._fit and self._parser.should_keep_alive() and not self._until_end
        if self._listener:
            self._listener.answered(status, self._reason, self._headers)
        if self._listener and self._listener.method == "HEAD":
            # The parser waits for a body that never comes.
            self._fit = False
            self._complete()

    def on_body(self, data: bytes) -> None:
        if self._listener and not self._done:
            self._listener.returned(data)

    def on_message_complete(self) -> None:
        if self._final and not self._done:
            self._complete()

    def _complete(self) -> None:
        self._done = True
        if self._listener:
            self._listener.completed()

    def _fail(self, problem: str) -> None:
        listener, self._listener, self._fit = self._listener, None, False
        if listener:
            listener.broke(problem, unanswered=not self._head_bytes)
            self._transport.abort()

    def _begin(self) -> None:
        self._headers = []
        self._reason = b""
        self._head_bytes = 0
        self._final = self._done = self._until_end = False


class ServiceLinks:
    """Connections by service, in one event loop."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, deque[ServiceLink]] = defaultdict(deque)
        self._contexts: dict[str, ssl.SSLContext] = {}

    def take(self, place: Origin) -> ServiceLink | None:
        """A kept connection, if there is one."""
        idle, now = self._idle[place], asyncio.get_running_loop().time()
        while idle:
            link = idle.pop()
            if link.is_fit(now):
                return link
            link.abort()
        return None

    def give_back(self, link: ServiceLink) -> None:
        """End a request; keep the connection if it can carry another one, otherwise close it."""
        idle = self._idle[link.place]
        if not link.release() or len(idle) >= IDLE_MOST:
            link.abort()
            return
        link.idle_since = asyncio.get_running_loop().time()
        while idle and not idle[0].is_fit(link.idle_since):
            idle.popleft().abort()
        idle.append(link)

    def forget(self) -> None:
        """Close what is kept, and use CA files as they are now."""
        self._contexts.clear()
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()

    async def connect(self, place: Origin) -> ServiceLink:
        """A new connection. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        try:
            tls = self._context(place.ca_file) if place.tls else None
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, link = await loop.create_connection(
                    lambda: ServiceLink(place), place.host, place.port, ssl=tls, happy_eyeballs_delay=0.25
                )
        except ssl.SSLError:
            raise Unreachable("its certificate is not valid for this host, or it does not speak TLS") from None
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_SECONDS:g} s") from None
        except OSError:
            raise Unreachable("no connection") from None
        # The name may resolve to where a cloud gives out this machine's credentials.
        if refuses_host(str(transport.get_extra_info("peername")[0])):
            link.abort()
            raise Unreachable("its address may not be used")
        return link

    def _context(self, ca_file: str) -> ssl.SSLContext:
        if ca_file not in self._contexts:
            context = ssl.create_default_context(cafile=ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[ca_file] = context
        return self._contexts[ca_file]
