"""Connections of callers. httptools parses their requests, one at a time."""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from keyturn.agent import http
from keyturn.agent.http import Caller, HttpAnswer, HttpRequest, StreamedConnection
from keyturn.agent.proxy import failures
from keyturn.agent.proxy.exchange import Exchange
from keyturn.agent.proxy.failures import ProxyFailure
from keyturn.agent.proxy.routes import PREFIX, Header

log = logging.getLogger(__name__)

LINGER_BYTES: Final = 1_048_576
"""Bytes of a request that are still read after its answer: a reset could take the answer from its client."""
LINGER_SECONDS: Final = 1.0
LONGEST_METHOD: Final = 8
VERSIONS: Final = frozenset({"1.0", "1.1"})
CROWDED: Final = ProxyFailure(HTTPStatus.TOO_MANY_REQUESTS, "too_many", "Too many requests are in progress.")

LARGE: Final = ProxyFailure(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The request's headers are too large."
)


class Admission(Protocol):
    """Decides about requests."""

    def admit(self, link: "ClientLink", request: HttpRequest) -> Exchange:
        """Begin to pass a request on; its body follows. Raises ProxyFailure."""

    def finished(self, exchange: Exchange, failure: ProxyFailure | None) -> None:
        """An exchange is over."""


class ClientLink(StreamedConnection):
    """A caller's connection until a request that is not for the proxy."""

    _exchange: Exchange | None
    _failure: ProxyFailure | None
    _headers: list[Header]
    _started: bool
    _complete_head: bool
    _received: bool
    _ignored: bool

    def __init__(self, opening: Admission, caller: Caller) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self.version = "1.1"
        self.closes = False
        self.transport: asyncio.Transport
        self._opening = opening
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._before = b""
        self._lingering = 0
        self._full = False
        self._parser = httptools.HttpRequestParser(self)
        self._begin()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(http.CHUNK)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else ""
        self._wait(http.REQUEST_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._lingering -= len(data)
            if self._lingering <= 0:
                self.transport.abort()
            return
        if self._exchange and self._received:
            # A client that sends its next request early has to send it again on another connection.
            self.closes = True
            return
        if not self._started and not self._starts(data):
            return
        data, self._before = self._before + data, b""
        self._parse(data)

    def eof_received(self) -> None:
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._gone()
        if not self.over.done():
            self.over.set_result(None)

    def pause_writing(self) -> None:
        self._full = True
        if self._exchange:
            self._exchange.hold_answer(full=True)

    def resume_writing(self) -> None:
        self._full = False
        if self._exchange:
            self._exchange.hold_answer(full=False)
        else:
            self.pause(paused=False)

    # --- the exchange

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def pause(self, *, paused: bool) -> None:
        if not self.transport.is_closing():
            (self.transport.pause_reading if paused else self.transport.resume_reading)()

    def close_after(self) -> None:
        self.closes = True

    def finish(self, failure: ProxyFailure | None, *, begun: bool) -> None:
        exchange, self._exchange = self._exchange, None
        self._caller.ended()
        if exchange:
            self._opening.finished(exchange, failure)
        if failure and (begun or failure.code == failures.GONE):
            self.transport.abort()
        elif failure:
            self._answer(failure.answer)
        else:
            self._next()

    # --- httptools

    def on_message_begin(self) -> None:
        if self._complete_head:
            self.closes = self._ignored = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, text: bytes) -> None:
        if not self._complete_head:
            self._headers.append((name.lower(), text))

    def on_headers_complete(self) -> None:
        if self._complete_head:
            return
        self._complete_head = True
        if sum(len(name) + len(text) for name, text in self._headers) > http.HEAD_BYTES:
            self._caller.began()
            self._failure = LARGE
            return
        self.version = self._parser.get_http_version()
        self.closes = self.closes or not self._parser.should_keep_alive() or self._caller.closing()
        crowded = self._caller.began()
        try:
            if crowded:
                raise CROWDED
            request = self._request()
            self._exchange = self._opening.admit(self, request)
            self._expects = any(text.lower() == "100-continue" for text in request.values("expect"))
        except ProxyFailure as failure:
            self._failure = failure

    def on_body(self, data: bytes) -> None:
        if self._exchange and not self._ignored:
            self._exchange.body(data)

    def on_message_complete(self) -> None:
        if self._ignored or self._received:
            return
        self._received = True
        if self._exchange:
            self._exchange.ended()

    # --- a request

    def _begin(self) -> None:
        self._exchange = None
        self._failure = None
        self._headers = []
        self._target = b""
        self._head_bytes = 0
        self._started = self._complete_head = self._received = self._ignored = self._expects = False
        self._head_begun = False

    def _starts(self, data: bytes) -> bool:
        """Whether a request for the proxy begins; hands others over once they can be told apart."""
        begin = self._before + data
        method, space, rest = begin.partition(b" ")
        prefix = PREFIX.encode("ascii")
        short = len(begin) <= LONGEST_METHOD and b"\n" not in begin
        if (short and not space) or (space and len(rest) < len(prefix) and prefix.startswith(rest)):
            self._before = begin
            self._wait_for_head()
            return False
        if space and method.isalpha() and rest.startswith(prefix):
            self._started = True
            return True
        self._stop_waiting()
        self.transport.pause_reading()
        self.over.set_result(begin)
        return False

    def _parse(self, data: bytes) -> None:
        if not self._complete_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.closes = True  # what follows may be in another protocol
        except httptools.HttpParserCallbackError as error:
            log.error("a request failed: %s", type(error.__context__).__name__)
            self.transport.abort()
            return
        except httptools.HttpParserError:
            self._refuse(failures.malformed("it is no valid HTTP/1.1"))
            return
        if self._failure:
            self._refuse(self._failure)
        elif not self._complete_head and self._head_bytes > http.HEAD_BYTES:
            self._refuse(LARGE)
        elif not self._complete_head:
            self._wait_for_head()
        else:
            if self._exchange:
                self._exchange.push()
            if self._expects and self._exchange and not self._received:
                self._expects = False
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _request(self) -> HttpRequest:
        headers = tuple((name.decode("ascii"), text.decode("latin-1")) for name, text in self._headers)
        path, _, query = self._target.decode("ascii", "replace").partition("?")
        request = HttpRequest(self._parser.get_method().decode("ascii"), path, query, headers, b"", self._peer)
        encodings = request.values("transfer-encoding")
        if self.version not in VERSIONS or any(text.lower() != "chunked" for text in encodings):
            raise failures.malformed("its version or encoding is not supported")
        if any("websocket" in text.lower() for text in request.values("upgrade")):
            raise ProxyFailure(HTTPStatus.NOT_IMPLEMENTED, "no_websockets", "The proxy does not pass WebSockets on.")
        if len(request.values("host")) != 1:
            raise failures.malformed("it does not name one host")
        return request

    def _refuse(self, failure: ProxyFailure) -> None:
        if self._exchange:
            self._exchange.cut(failure)
            return
        if self._complete_head:
            self._caller.ended()
        self._answer(failure.answer)

    def _answer(self, answer: HttpAnswer) -> None:
        """Send an answer of the proxy's own; the connection ends if the request was not read to its end."""
        self.closes = self.closes or not self._received
        body = answer.body.encode()
        lines = [f"HTTP/1.1 {int(answer.status)} {HTTPStatus(answer.status).phrase}", "cache-control: no-store"]
        lines += [f"content-type: {answer.kind}", f"content-length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in answer.headers] + ["connection: close"] * self.closes
        self.write("\r\n".join((*lines, "", "")).encode("ascii") + body * (self._parser_method() != b"HEAD"))
        self._next()

    def _parser_method(self) -> bytes:
        return self._parser.get_method() if self._complete_head else b"GET"

    def _next(self) -> None:
        """Wait for the next request, or close the connection."""
        received = self._received
        closes = self.closes or self._caller.closing()
        self._begin()
        if self.transport.is_closing():
            return
        if not closes:
            self.pause(paused=self._full)  # the next answer may be larger than this one
            self._due = self._loop.time() + http.IDLE_SECONDS
        elif received:
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        self._lingering = LINGER_BYTES
        with suppress(OSError):
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.pause(paused=False)
        self._stop_waiting()
        self._timer = self._loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _wait(self, seconds: float) -> None:
        """Close the connection after this time, unless a request is open by then."""
        self._stop_waiting()
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def _wait_for_head(self) -> None:
        if not self._head_begun:
            self._head_begun = True
            self._wait(http.REQUEST_SECONDS)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        # A timer for each request would cost more than the request's checks.
        if self._exchange is None and self._loop.time() >= self._due:
            self.transport.abort()
            return
        wait = http.IDLE_SECONDS if self._exchange else self._due - self._loop.time()
        self._timer = self._loop.call_later(wait, self._look)

    def _gone(self) -> None:
        if self._exchange:
            self._exchange.cut(failures.gone())
