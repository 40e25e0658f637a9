"""A process's socket in the directory of its host's group."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

from keyturn.client.host.directory import Directory
from keyturn.client.host.wire import Gone, wait_at_most
from keyturn.core.errors import Unavailable

BACKLOG: Final = 256
NAMING: Final = 0.1
"""Seconds for a new process that reads for all to record its name."""


class Seat:
    """A new seat. Raises Unavailable, and Denied where others may use the directory."""

    def __init__(self, place: Path, patience: float, check: float) -> None:
        self.directory = Directory(place, patience)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._leading: int | None = None
        self._leader = ""
        self._given_up = False
        self._lock = threading.Lock()
        name = self.directory.fresh_name()
        try:
            self.listener.bind(self.directory.address(name))
            self.listener.listen(BACKLOG)
            wait_at_most(self.listener, check)
            # It is visible only once it listens, so a refused connection means an ended process.
            self.name = self.directory.publish(name)
        except OSError as error:
            self.listener.close()
            raise Unavailable("join", str(place), os.strerror(error.errno or 0), "See to that directory") from None

    @property
    def stands(self) -> bool:
        """Whether others find it."""
        return self.directory.holds(self.name)

    def leader(self, gone: str = "") -> str:
        """The socket of the process that reads for all, maybe this one, but not ``gone``.

        Raises Gone where none is recorded in time.
        """
        with self._lock:
            if not self._leader or self._leader == gone:
                self._leader = self._elect(gone)
            return self._leader

    @property
    def given_up(self) -> bool:
        """Whether it no longer listens."""
        return self._given_up or self.listener.fileno() < 0

    def accept(self) -> socket.socket | None:
        """The next connection; None after a time-out. Raises OSError after :meth:`give_up`."""
        try:
            return self.listener.accept()[0]
        except BlockingIOError:
            return None

    def give_up(self) -> None:
        """Remove the socket, and wake the thread that accepts."""
        self._given_up = True
        self.directory.remove(self.name)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptors of this process."""
        self.listener.close()
        if self._leading is not None:
            os.close(self._leading)
            self._leading = None

    def _elect(self, gone: str) -> str:
        deadline = time.monotonic() + NAMING
        while time.monotonic() < deadline:
            if self._leading is None:
                self._leading = self.directory.lead(self.name)
            if self._leading is not None:
                return self.name
            if (name := self.directory.leader()) and name != gone:
                return name
            time.sleep(0.001)
        raise Gone
