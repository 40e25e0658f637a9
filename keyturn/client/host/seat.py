"""A process's place among the others of its host: a socket in their directory, at which it is asked."""

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
"""Seconds within which a process that has begun to read for all says where it is."""


class Seat:
    """Taken when it is made. Raises Unavailable, and Denied where the directory is not this user's alone."""

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
            # Nobody sees it before it listens, so whoever is refused there has asked a process that is gone.
            self.name = self.directory.publish(name)
        except OSError as error:
            self.listener.close()
            raise Unavailable("join", str(place), os.strerror(error.errno or 0), "See to that directory") from None

    @property
    def stands(self) -> bool:
        """Whether others find it."""
        return self.directory.holds(self.name)

    def leader(self, gone: str = "") -> str:
        """The socket of the process that reads for all, which may be this one; ``gone`` is not it any more.

        Raises Gone where it does not say so in time.
        """
        with self._lock:
            if not self._leader or self._leader == gone:
                self._leader = self._elect(gone)
            return self._leader

    @property
    def given_up(self) -> bool:
        """Whether nobody listens at it any more."""
        return self._given_up or self.listener.fileno() < 0

    def accept(self) -> socket.socket | None:
        """The next who asks; None where nobody came for a while. Raises OSError once the seat is given up."""
        try:
            return self.listener.accept()[0]
        except BlockingIOError:
            return None

    def give_up(self) -> None:
        """Nobody finds it any more, and who waits at it wakes."""
        self._given_up = True
        self.directory.remove(self.name)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.let_go()

    def let_go(self) -> None:
        """Close what is open, and leave to whoever else has it open what it is."""
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
