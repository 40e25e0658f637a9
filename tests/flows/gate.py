"""A gate before a server: open, closed, or accepting connections without answering."""

import contextlib
import socket
import threading
from enum import Enum

from local.support.ports import LOOPBACK, free_port


class Door(Enum):
    """How it stands."""

    SHUT = "shut"
    OPEN = "open"
    HELD = "held"


class Gate:
    """Listens on ``port`` while it is not shut. Whoever is inside is thrown out when the door moves."""

    def __init__(self, behind: int, door: Door = Door.SHUT) -> None:
        self.behind = behind
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.taken = threading.Event()
        self._listener: socket.socket | None = None
        self._inside: list[socket.socket] = []
        self._lock = threading.Lock()
        self.move(door)

    def move(self, door: Door) -> None:
        """Open, shut or hold it."""
        self.close()
        if door is not Door.SHUT:
            self.taken.clear()
            self._listener = socket.create_server((LOOPBACK, self.port))
            threading.Thread(target=self._serve, args=(self._listener, door), daemon=True).start()

    def close(self) -> None:
        """Shut it, for good or until it is moved."""
        with self._lock:
            for ended in [*([self._listener] if self._listener else []), *self._inside]:
                end(ended)
            self._listener, self._inside = None, []

    def _serve(self, listener: socket.socket, door: Door) -> None:
        while True:
            try:
                came, _ = listener.accept()
            except OSError:
                return
            ends = [came] if door is Door.HELD else [came, socket.create_connection((LOOPBACK, self.behind))]
            with self._lock:
                self._inside += ends
            self.taken.set()
            if door is Door.OPEN:
                for source, sink in (ends, ends[::-1]):
                    threading.Thread(target=carry, args=(source, sink), daemon=True).start()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, until either side has gone."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    end(source)
    end(sink)


def end(ended: socket.socket) -> None:
    """Close it under whoever waits for it."""
    with contextlib.suppress(OSError):
        ended.shutdown(socket.SHUT_RDWR)
    ended.close()
