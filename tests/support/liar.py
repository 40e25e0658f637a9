"""A malicious HTTP server on loopback that answers in one chosen way."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

PAUSE: Final = 0.02
"""Seconds between two bytes of a server that drips."""
PATIENCE: Final = 20.0
"""Seconds after which it ends a connection, so that a client that would wait for ever fails its test at last."""
GIGABYTE: Final = 1 << 30
PIECE: Final = b"x" * 65_536
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

Behaviour = Callable[["Liar", socket.socket, bytes], None]


class Liar:
    """Serves from threads while it is entered. ``requests`` are those that came, ``sent`` counts its bytes."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.sent = 0
        self._tls = tls
        self._ended = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Liar":
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def send(self, connection: socket.socket, content: bytes) -> None:
        """Send these bytes."""
        connection.sendall(content)
        self.sent += len(content)

    def drip(self, connection: socket.socket, content: bytes = b"x" * 100_000) -> None:
        """Send one byte after the other, as long as it is listened to."""
        until = time.monotonic() + PATIENCE
        for byte in content:
            if time.monotonic() > until or self._ended.wait(PAUSE):
                return
            self.send(connection, bytes([byte]))

    def wait(self) -> None:
        """Say nothing."""
        self._ended.wait(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            connection.settimeout(PATIENCE)
            secure = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with closing(secure):
                while request := read_request(secure):
                    self.requests.append(request)
                    self.behaviour(self, secure, request)


def read_request(connection: socket.socket) -> bytes:
    """One whole request; empty where none comes any more."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65_536)):
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        if not (piece := connection.recv(65_536)):
            break
        body += piece
    return head + b"\r\n\r\n" + body


# --- ways to lie


def never_answers(liar: Liar, _connection: socket.socket, _request: bytes) -> None:
    """It takes the request, and that is all."""
    liar.wait()


def drips_headers(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A header without an end, a byte at a time."""
    liar.send(connection, OK + b"x-lie: ")
    liar.drip(connection)


def drips_its_body(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A body that grows a byte at a time."""
    liar.send(connection, OK + b"content-length: 100000\r\n\r\n")
    liar.drip(connection)


def says_a_gigabyte(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A body that is told to be of 1 GB, and is."""
    liar.send(connection, OK + b"content-length: %d\r\n\r\n" % GIGABYTE)
    for _ in range(GIGABYTE // len(PIECE)):
        liar.send(connection, PIECE)


def never_ends(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """1 GB in chunks, whose number nobody knows before."""
    liar.send(connection, OK + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(GIGABYTE // len(PIECE)):
        liar.send(connection, b"%x\r\n%b\r\n" % (len(PIECE), PIECE))


def says_a_huge_chunk(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A chunk of 1 TB, for which a client might make room."""
    liar.send(connection, OK + b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFF\r\n")
    for _ in range(GIGABYTE // len(PIECE)):
        liar.send(connection, PIECE)


def says_5000_digits(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A length that is no number that Python would read."""
    liar.send(connection, OK + b"content-length: " + b"9" * 5000 + b"\r\n\r\n{}")


def answers_compressed(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A small answer that unfolds to a large one, though nobody has said that it may be compressed."""
    body = gzip.compress(b" " * (8 << 20))
    liar.send(connection, OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def asks_for_ages(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """A slower pace, beginning in three hundred years."""
    head = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 9999999999\r\nx-ms-retry-after-ms: 9999999999\r\n"
    liar.send(
        connection, head + b"retry-after-ms: 1e30\r\nx-amz-retry-after: 9999999999\r\ncontent-length: 2\r\n\r\n{}"
    )


def redirects_to(url: str) -> Behaviour:
    """The same request again, with its token and its body, to another server."""

    def redirect(liar: Liar, connection: socket.socket, _request: bytes) -> None:
        liar.send(connection, b"HTTP/1.1 307 Moved\r\nlocation: %b/\r\ncontent-length: 0\r\n\r\n" % url.encode())

    return redirect


def answers_in_turn(documents: Callable[[str, int], Any]) -> Behaviour:
    """What ``documents`` gives for its own address and the number of the request, from 1, as JSON."""

    def answer(liar: Liar, connection: socket.socket, _request: bytes) -> None:
        body = json.dumps(documents(liar.url, len(liar.requests))).encode()
        liar.send(connection, OK + b"content-length: %d\r\n\r\n" % len(body) + body)

    return answer


def reads_and_drips(liar: Liar, connection: socket.socket, _request: bytes) -> None:
    """Nothing that is HTTP, a byte at a time."""
    liar.drip(connection)


SLOW: Final[Sequence[Behaviour]] = (never_answers, drips_headers, drips_its_body)
HUGE: Final[Sequence[Behaviour]] = (
    says_a_gigabyte,
    never_ends,
    says_a_huge_chunk,
    says_5000_digits,
    answers_compressed,
)


@contextmanager
def dripping(greeting: bytes = b"") -> Iterator[int]:
    """A server of another protocol, which greets and then drips whatever comes: its port."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            connection.sendall(greeting)
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and not ended.wait(PAUSE):
                connection.sendall(b"+")

    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
