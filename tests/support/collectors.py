"""Syslog collectors on loopback that accept, disconnect, stop reading or die on request."""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from local.support.ports import LOOPBACK

Behaviour = Callable[[socket.socket], bytes]
"""Serves one connection and gives what it has read."""


def read_all(connection: socket.socket) -> bytes:
    """Read until the sender has ended its half."""
    told = b""
    while part := connection.recv(65_536):
        told += part
    return told


def break_off(after: int) -> Behaviour:
    """Close once so many bytes are read, with more on their way or unread."""

    def behave(connection: socket.socket) -> bytes:
        told = b""
        while len(told) < after and (part := connection.recv(after - len(told))):
            told += part
        return told

    return behave


def say_goodbye(after: int) -> Behaviour:
    """Read so many bytes, end our half as if all was well, and read no further."""

    def behave(connection: socket.socket) -> bytes:
        told = break_off(after)(connection)
        connection.shutdown(socket.SHUT_WR)
        return told

    return behave


def stop_reading(until: threading.Event) -> Behaviour:
    """Accept, and do nothing until told."""

    def behave(_: socket.socket) -> bytes:
        until.wait(30)
        return b""

    return behave


@dataclass
class SyslogServer:
    """Serves one connection after another, each by the next behaviour; ``read_all`` after the last.

    ``received`` is what each connection was read to have sent. With ``context`` it speaks TLS; ``politely`` answers
    TLS's own end with its own.
    """

    behaviours: list[Behaviour] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    politely: bool = True
    received: list[bytes] = field(default_factory=list)

    def __enter__(self) -> "SyslogServer":
        # A small buffer, so that what a collector does not read stops the sender.
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind((LOOPBACK, 0))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def messages(self) -> list[bytes]:
        """Every whole message, of one connection after the other."""
        return [message for told in self.received for message in unframed(told)]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            behave = self.behaviours.pop(0) if self.behaviours else read_all
            self.received.append(b"")
            with connection, suppress(OSError):
                self.received[-1] = self._served(connection, behave)

    def _served(self, connection: socket.socket, behave: Behaviour) -> bytes:
        if self.context is None:
            return behave(connection)
        channel = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with channel:
            told = behave(channel)
            if self.politely:
                channel.unwrap()
            return told


def unframed(told: bytes) -> list[bytes]:
    """The whole messages in a stream of counted octets (RFC 6587, 3.4.1)."""
    found = []
    while counted := re.match(rb"([1-9][0-9]*) ", told):
        end = counted.end() + int(counted[1])
        if end > len(told):
            break
        found.append(told[counted.end() : end])
        told = told[end:]
    return found
