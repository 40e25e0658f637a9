"""A proxy on loopback that drops one answer after the server did the work.

Or it sends one request twice, as a proxy does that retries when a connection breaks: the client gets the second answer.

It knows no protocol. What a server says after the client has spoken, until the client speaks again, is one answer;
all proxies of one :class:`Faults` count together, in the order of the answers.
"""

import selectors
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

CHUNK = 65_536
TIMEOUT = 0.2


@dataclass
class Faults:
    """Which answer is lost, from 0, or to which the request is sent again; None for none.

    ``names`` says which server gave each one.
    """

    lose: int | None = None
    again: int | None = None
    names: list[str] = field(default_factory=list)
    lost: bool = False
    counting: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, lose: int | None = None, again: int | None = None) -> None:
        """Count from 0 again."""
        with self._lock:
            self.lose, self.again, self.names, self.lost, self.counting = lose, again, [], False, True

    def end(self) -> list[str]:
        """Let everything through, and tell what was counted."""
        with self._lock:
            self.counting = False
            return self.names

    def taken(self, name: str) -> int | None:
        """The number of the answer that begins if it is the one to take away; else None."""
        with self._lock:
            if not self.counting:
                return None
            number = len(self.names)
            self.names.append(f"{number}: {name}")
            if number not in (self.lose, self.again):
                return None
            self.lost = True
            return number


class FaultProxy:
    """Listens on a port of its own for as long as it is entered, and passes everything on to ``port``."""

    def __init__(self, name: str, port: int, faults: Faults) -> None:
        self.name = name
        self._upstream = port
        self._faults = faults
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> "FaultProxy":
        self._listener.settimeout(TIMEOUT)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack:
            stack.callback(client.close)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                asked: bytes | None = b""
                while asked is not None:
                    server = stack.enter_context(socket.create_connection(("127.0.0.1", self._upstream)))
                    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    server.sendall(asked)
                    asked = self._carry(client, server, asked)

    def _carry(self, client: socket.socket, server: socket.socket, asked: bytes) -> bytes | None:
        """Pass bytes on in both directions until one side has had enough, or an answer is lost.

        Returns a request that is to be sent once more, on a new connection.
        """
        repeated = asking = bool(asked)
        with selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ)
            both.register(server, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in both.select(TIMEOUT):
                    data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                    if not data:
                        return None
                    if key.fileobj is client:
                        asked = asked + data if asking else data
                        asking = True
                        server.sendall(data)
                        continue
                    if asking and not repeated and (number := self._faults.taken(self.name)) is not None:
                        return asked if number == self._faults.again else None
                    asking = repeated = False
                    client.sendall(data)
        return None
