"""One deadline for a whole exchange over HTTP: connecting, headers and body together.

A timeout of a socket is one for each wait for bytes, so a server that drips one after the other holds its client for
as long as it likes. Here the connection is ended when the time is over, whatever came until then.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse


class _Watch(threading.local):
    """The deadline of the exchange that this thread is in, by the monotonic clock, and what ends its connections."""

    until: float | None = None
    timers: Sequence[threading.Timer] = ()


_watch: Final = _Watch()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is exchanged inside, over sessions with a :class:`DeadlineAdapter`, ends after so many seconds."""
    _watch.until, _watch.timers = time.monotonic() + seconds, ()
    try:
        yield
    finally:
        timers: Sequence[threading.Timer] = _watch.timers
        for timer in timers:
            timer.cancel()
        _watch.until, _watch.timers = None, ()


class DeadlineAdapter(HTTPAdapter):
    """Connections that end when the deadline of :func:`within` is over; without one as they always are."""

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _guard(connection: HTTPConnection) -> None:
    """End the connection when the time is over. Connecting and the handshake have kept to the timeout until here."""
    if _watch.until is None or connection.sock is None:
        return
    timer = threading.Timer(max(0.0, _watch.until - time.monotonic()), _end, (connection.sock,))
    timer.daemon = True
    _watch.timers = [*_watch.timers, timer]
    timer.start()


def _end(ended: socket.socket) -> None:
    # TLS is not told: that would change what the reading thread is using.
    with suppress(OSError):
        socket.socket.shutdown(ended, socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override]
        _guard(self)
        return super().getresponse()


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override]
        _guard(self)
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
