"""Every HTTP connection, whichever library sends the request, and its limits on any answer.

requests, hvac, google-auth and the SDKs of AWS, Azure and Kubernetes all use urllib3's connections, which this module
replaces. Connecting and the whole answer each have a deadline; a socket's own timeout limits only each wait for bytes.
An answer that is too long, or compressed unasked, is refused unread. No library follows a redirect. A requested wait is
at most a minute.
"""

import http.client
import io
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

from keyturn.core.errors import RETRY_AFTER_LIMIT
from keyturn.core.hosts import METADATA_NAMES, refuses_host, to_address
from keyturn.core.ports.tracing import Attribute, SpanKind, current_span, traced
from keyturn.providers.answers import RefusedAnswer, TooLate, retry_after

CONNECTIONS: Final = 32
LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes, with headers."""
LONGEST_LENGTH: Final = 15
LONGEST_WAIT: Final = 60.0
WAITS: Final[Mapping[str, int]] = {"retry-after": 1, "retry-after-ms": 1000, "x-ms-retry-after-ms": 1000}
UNKNOWN_WAIT: Final = "x-amz-retry-after"


class _Call(threading.local):
    """A deadline on the monotonic clock."""

    until: float | None = None
    seconds: float = 0.0


_call: Final = _Call()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit all exchanges inside, with an SDK's retries, to this many seconds."""
    before = _call.until, _call.seconds
    until = time.monotonic() + seconds
    if before[0] is None or until < before[0]:
        _call.until, _call.seconds = until, seconds
    try:
        yield
    finally:
        _call.until, _call.seconds = before


def _deadline(timeout: float | None) -> tuple[float, float]:
    seconds = LONGEST_WAIT if timeout is None else timeout
    until = time.monotonic() + seconds
    if _call.until is not None and _call.until < until:
        return _call.until, _call.seconds
    return until, seconds


class _Wire(io.RawIOBase):
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb", buffering=0)
        self._until, self._seconds = _deadline(connection.gettimeout())
        self._left = LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TooLate(self._seconds)
        self._connection.settimeout(remaining)
        try:
            count = self._file.readinto(buffer)
        except TimeoutError:
            raise TooLate(self._seconds) from None
        self._left -= count or 0
        if self._left < 0:
            raise _too_long()
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Reader(io.BufferedReader):
    """Refuses a read larger than any answer, whose memory would be allocated first."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_ANSWER:
            raise _too_long()
        return super().read(size)


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **settings: Any) -> None:
        super().__init__(sock, *args, **settings)
        self.fp.close()
        self.fp = _Reader(_Wire(sock))

    def begin(self) -> None:
        super().begin()
        insist_on_size(self.headers)
        if self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise RefusedAnswer("its answer is compressed, which was not asked for")
        if 300 <= self.status < 400:
            del self.headers["location"]
        cap_waits(self.headers)


def insist_on_size(headers: Message) -> None:
    lengths = {part.strip() for header in headers.get_all("content-length", []) for part in str(header).split(",")}
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        raise RefusedAnswer("its answer has a Content-Length that is no number")
    if any(len(length) > LONGEST_LENGTH or int(length) > LARGEST_ANSWER for length in lengths):
        raise _too_long()


def cap_waits(headers: Message) -> None:
    """Limit each requested wait to a minute."""
    del headers[UNKNOWN_WAIT]
    for name, parts in WAITS.items():
        text = headers.get(name)
        if text is None:
            continue
        seconds = retry_after(text.strip(), _date(headers))
        del headers[name]
        if seconds is not None:
            headers[name] = text.strip() if seconds <= RETRY_AFTER_LIMIT * parts else f"{RETRY_AFTER_LIMIT * parts:.0f}"


def _date(headers: Message) -> datetime:
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        date = None
    return date if date and date.tzinfo else datetime.now(UTC)


def _too_long() -> RefusedAnswer:
    return RefusedAnswer(f"its answer is longer than {LARGEST_ANSWER >> 20} MiB")


class _Told(HTTPConnection):
    """Traces an answer within a span: server, method and status, but no path or header."""

    response_class = _Answer

    def putheader(self, header: str | bytes, *values: Any) -> None:
        """Never accepts compression: the unpacked size is unknown."""
        name = header.decode("latin-1") if isinstance(header, bytes) else header
        super().putheader(name, *(("identity",) if name.lower() == "accept-encoding" else values))

    def _new_conn(self) -> socket.socket:
        return insist_on_place(super()._new_conn(), self.host)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
        if not current_span()[0]:
            return super().getresponse()
        method = str(getattr(self, "_method", None) or "HTTP")
        place: dict[str, Attribute] = {
            "http.request.method": method,
            "server.address": self.host,
            "server.port": self.port or 0,
        }
        with traced(method, place, kind=SpanKind.CLIENT) as current:
            answer = super().getresponse()
            current.set("http.response.status_code", answer.status)
        return answer


class Connection(_Told, HTTPConnection):
    def connect(self) -> None:
        _leave_time_for(self)
        super().connect()


class SecureConnection(_Told, HTTPSConnection):
    _spare: socket.socket | None = None

    def connect(self) -> None:
        seconds = _leave_time_for(self)
        late = threading.Event()
        timer = threading.Timer(seconds, self._end, (late,))
        timer.daemon = True
        timer.start()
        try:
            super().connect()
        except OSError:
            if late.is_set():
                raise TooLate(seconds) from None
            raise
        finally:
            timer.cancel()
            if self._spare is not None:
                self._spare.close()
                self._spare = None

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        # TLS takes the socket over, so the socket to end later is duplicated now.
        self._spare = connection.dup()
        return connection

    def _end(self, late: threading.Event) -> None:
        late.set()
        with suppress(OSError, AttributeError):
            self._spare.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # gone after a connect just now


def insist_on_place(connection: socket.socket, host: str) -> socket.socket:
    """Close a connection by name to a cloud's credential service. Raises RefusedAnswer.

    SDKs reach it by address, or by a name of the cloud's own.
    """
    peer = str(connection.getpeername()[0])
    if to_address(host) is None and host.casefold() not in METADATA_NAMES and refuses_host(peer):
        connection.close()
        raise RefusedAnswer("its name resolves to where a cloud gives out this machine's credentials")
    return connection


def _leave_time_for(connection: HTTPConnection) -> float:
    until, seconds = _deadline(connection.timeout if isinstance(connection.timeout, int | float) else None)
    remaining = until - time.monotonic()
    if remaining <= 0:
        raise TooLate(seconds)
    connection.timeout = remaining
    return remaining


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = SecureConnection


POOLS: Final[Mapping[str, Any]] = {"http": _Pool, "https": _SecurePool}


class OutboundAdapter(HTTPAdapter):
    def __init__(self, pools: int = 4) -> None:
        super().__init__(pool_connections=pools, pool_maxsize=CONNECTIONS)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = dict(POOLS)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = dict(POOLS)
        return manager


class _Elsewhere(BaseAdapter):
    def send(self, *_: Any, **__: Any) -> requests.Response:
        raise requests.ConnectionError(RefusedAnswer("it names another address, to which nothing is sent"))

    def close(self) -> None:
        """There is nothing to close."""


def keep_to(session: requests.Session, url: str, adapter: HTTPAdapter | None = None) -> None:
    """Restrict a session to the server of ``url``, whatever address an answer names."""
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    scheme, _, rest = str(request.url).partition("://")
    for prefix in ("http://", "https://"):
        session.mount(prefix, _Elsewhere())
    session.mount(f"{scheme}://{rest.partition('/')[0]}/", adapter or OutboundAdapter())


def open_anywhere(session: requests.Session) -> None:
    for prefix in ("http://", "https://"):
        session.mount(prefix, OutboundAdapter())


@contextmanager
def ended_after(descriptor: int, seconds: float) -> Iterator[threading.Event]:
    """The ``descriptor`` is duplicated, so that no other connection can be ended instead."""
    late = threading.Event()
    with closing(socket.socket(fileno=os.dup(descriptor))) as spare:

        def end() -> None:
            late.set()
            # Below TLS, whose state the reading thread uses.
            with suppress(OSError):
                spare.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
