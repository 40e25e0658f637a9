"""Messages between processes of a host: a question and an answer, as JSON after its length.

They contain values, so the kernel confirms that the other process has the same user.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, Final

from keyturn.core.notifications.notices import Notice

LIMIT: Final = 64 * 2**20
"""Bytes of a message."""
LENGTH: Final = struct.Struct("!I")
CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group, as in ucred of unix(7)."""
CHUNK: Final = 65_536

Message = dict[str, Any]
Promised = tuple[Notice, float]


class Stuck(Exception):
    """The other side did not answer in time."""


class Gone(Exception):
    """The other side closed the connection."""


def wait_at_most(connection: socket.socket, seconds: float) -> None:
    """Limit each call in the kernel; a Python timeout would add a system call."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000) or 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def peer_of(connection: socket.socket) -> tuple[int, bool]:
    """The pid of the other side, 0 where it is not visible, and whether its user is the same."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, user, _ = CREDENTIALS.unpack(credentials)
    return pid, user == os.geteuid()


def send(connection: socket.socket, message: Message) -> None:
    """Send a whole message. Raises Stuck, Gone, and ValueError above the limit."""
    body = json.dumps(message).encode()
    if len(body) > LIMIT:
        raise ValueError(f"a message has more than {LIMIT} bytes")
    try:
        connection.sendall(LENGTH.pack(len(body)) + body)
    except BlockingIOError:
        raise Stuck from None
    except OSError:
        raise Gone from None


def receive(connection: socket.socket, deadline: float) -> Message:
    """The next message, until the monotonic ``deadline``. Raises Stuck, Gone and ValueError."""
    received = bytearray()
    while len(received) < LENGTH.size or len(received) < LENGTH.size + length_of(received):
        received += _chunk(connection, deadline)
    message = json.loads(received[LENGTH.size :])
    if not isinstance(message, dict):
        raise ValueError("the message is no object")
    return message


def length_of(received: bytearray) -> int:
    """The bytes after the length. Raises ValueError above the limit."""
    (length,) = LENGTH.unpack_from(received)
    if length > LIMIT:
        raise ValueError(f"a message has more than {LIMIT} bytes")
    return int(length)


def notice_data(promised: Promised) -> Message:
    """A notice and its remaining seconds, as data."""
    notice, remaining = promised
    return {"notice": notice.to_json(), "remaining": remaining}


def notice_of(data: Mapping[str, Any]) -> Promised:
    """The notice of such data. Raises ValueError."""
    return Notice.from_json(str(data.get("notice"))), float(data.get("remaining", 0.0))


def _chunk(connection: socket.socket, deadline: float) -> bytes:
    try:
        chunk = connection.recv(CHUNK)
    except BlockingIOError:
        raise Stuck from None
    except OSError:
        raise Gone from None
    if not chunk:
        raise Gone
    if time.monotonic() > deadline:
        raise Stuck
    return chunk
