"""Finds the boundaries between a process's external calls by itself, and kills or suspends the process at one of them.

Nothing is wrapped: the interpreter tells of every call (``sys.setprofile``), and those that leave the process
are recognised at the lowest level there is in Python: a request of ``http.client``, what PyMySQL and redis-py
write to their sockets, and the C functions of psycopg2. A call that somebody adds to the protocol is therefore one
boundary more.
"""

import http.client
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import psycopg2.extensions
import pymysql.connections
import redis.connection

REQUEST = http.client.HTTPConnection.endheaders.__code__
WRITES = {
    id(getattr(pymysql.connections.Connection, "_write_bytes").__code__): "MySQL packet",  # noqa: B009  unknown to its stubs
    id(redis.connection.AbstractConnection.send_packed_command.__code__): "Redis command",
}
"""By the functions' identity: to hash a function's code takes longer than most calls."""
OURS = ("keyturn.revocation.", "keyturn.rotation.", "keyturn.providers.")


class Boundaries:
    """Counts what is about to leave this process; at number ``kill_at`` (from 0) the process kills itself.

    At ``stop_at`` it suspends itself, and goes on from there once it is sent SIGCONT. The state of the world just
    before an external call is the state just after the one before it, so counting one side finds every boundary. A
    transaction that is cut short leaves nothing.
    """

    def __init__(self, kill_at: int | None = None, stop_at: int | None = None) -> None:
        self.kill_at = kill_at
        self.stop_at = stop_at
        self.names: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Boundaries":
        threading.setprofile(self._told)
        sys.setprofile(self._told)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _told(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code is REQUEST:
            self._reached(f"{frame.f_locals['self']._method} {path_of(frame)}", frame)
        elif event == "call" and id(frame.f_code) in WRITES:
            self._reached(WRITES[id(frame.f_code)], frame)
        elif event == "c_call" and leaves(arg):
            self._reached(f"SQL {arg.__name__}", frame)

    def _reached(self, what: str, frame: FrameType) -> None:
        with self._lock:
            if len(self.names) == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if len(self.names) == self.stop_at:
                # Sent to this very thread, which therefore does not go one step further.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            self.names.append(f"{len(self.names)}: {where(frame)}: {what}")


def leaves(function: Any) -> bool:
    """Whether a C function is psycopg2's, and speaks to the server."""
    if function.__name__ == "_connect":
        return bool(function.__module__ == "psycopg2._psycopg")
    return function.__name__ == "execute" and isinstance(function.__self__, psycopg2.extensions.cursor)


def path_of(frame: FrameType) -> str:
    """The path of the request that ``frame``, one of http.client, is about to send."""
    line = bytes(frame.f_locals["self"]._buffer[0])
    return line.split(b" ")[1].decode().partition("?")[0]


def where(frame: FrameType | None) -> str:
    """The innermost functions of the protocol and of the adapters that are at work."""
    inner: dict[str, str] = {}
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        for ours in OURS:
            if module.startswith(ours):
                inner.setdefault(ours, frame.f_code.co_qualname)
        frame = frame.f_back
    return " > ".join(inner[ours] for ours in OURS if ours in inner)
