"""What the services over HTTP have in common: a server on loopback, plain or with TLS, and the process around it.

Each connection has a thread and stays open between calls. A service says how its requests are read and its answers
told, in a :class:`Handler`, and names it in a server of its own.
"""

import argparse
import signal
import socket
import socketserver
import ssl
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from deployments.server_options import add_certificate, add_host
from local.support.ports import LOOPBACK
from local.support.serving import server_context

IDLE_SECONDS: Final = 60
LONGEST_LENGTH: Final = 15
"""Digits of a Content-Length: Python refuses to read 5,000."""


class Closes(Protocol):
    """What is served, so far as a server knows it."""

    def close(self) -> None:
        """Let go of everything."""


class Answer(Protocol):
    """What a client gets, so far as a server knows it."""

    @property
    def status(self) -> int:
        """The status of HTTP."""

    def content(self) -> bytes:
        """The body's bytes."""


Served = TypeVar("Served", bound=Closes)


class Listener(socketserver.ThreadingTCPServer, Generic[Served]):
    """The open port, and the connections that clients keep."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        emulator: Served,
        handler: type["Handler"],
        program: str,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.emulator = emulator
        self._program = program
        self._tls = tls
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        connection.settimeout(IDLE_SECONDS)
        if self._tls is not None:
            # The handshake is left to the connection's own thread: a silent client must not keep others waiting.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is not None:
            request.do_handshake()
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say which error it was and where, never its text, which could hold part of a request."""
        kind, error, trace = sys.exc_info()
        if isinstance(error, OSError) or trace is None or kind is None:
            return  # the client hung up, or does not trust the certificate
        while trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        sys.stderr.write(f"{self._program}: {kind.__name__} at {place}\n")


class Handler(BaseHTTPRequestHandler, ABC):
    """Answers the calls of one connection; a body of more than ``max_body`` bytes, or of unknown length, is refused."""

    protocol_version = "HTTP/1.1"
    sys_version = ""
    # An answer leaves in one segment, at once: headers and body apart would wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    max_body: ClassVar[int] = 1 << 20
    max_dropped: ClassVar[int] = 0
    """How much of a body that is refused is read first: a client that is still sending would not read the answer."""

    @abstractmethod
    def answer(self, body: bytes) -> Answer:
        """The answer to this call."""

    @abstractmethod
    def refusal(self) -> Answer:
        """The answer where the body can't be taken."""

    @abstractmethod
    def headers_of(self, answer: Any, content: bytes) -> Mapping[str, str]:
        """What an answer's headers say, beside the date."""

    def parts(self) -> tuple[str, ...]:
        """The path without its slashes, decoded."""
        return tuple(unquote(part) for part in urlsplit(self.path).path.split("/") if part)

    def query(self) -> dict[str, str]:
        """The parameters; of one that is given twice, the last."""
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def lowered(self) -> dict[str, str]:
        """The headers, with their names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request line holds names, and nobody asked for them."""

    def serve(self) -> None:
        """Take one call and answer it."""
        length = self.headers.get("Content-Length", "0")
        if (
            not length.isdigit()
            or len(length) > LONGEST_LENGTH
            or int(length) > self.max_body
            or "Transfer-Encoding" in self.headers
        ):
            self.close_connection = True
            self.rfile.read(min(int(length[:LONGEST_LENGTH]), self.max_dropped) if length.isdigit() else 0)
            self._send(self.refusal())
            return
        self._send(self.answer(self.rfile.read(int(length))))

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 (the names that http.server looks for)

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        self.send_response_only(answer.status)
        for name, value in {"Date": self.date_time_string(), **self.headers_of(answer, content)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class HttpServer(Generic[Served]):
    """Serves an emulator at ``http://127.0.0.1:port`` from construction to :meth:`stop`, or on ``host``.

    ``port`` 0 takes any free one. Raises OSError where the port is taken.
    """

    program: ClassVar[str]
    handler: ClassVar[type[Handler]]

    def __init__(
        self, emulator: Served, port: int = 0, *, host: str = LOOPBACK, tls: ssl.SSLContext | None = None
    ) -> None:
        self.emulator = emulator
        self._listener = Listener(emulator, self.handler, self.program, (host, port), tls)
        self.port: int = self._listener.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}" if tls is None else f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every open connection, then the emulator."""
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.hang_up()
        self._thread.join()
        self.emulator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class HttpsServer(HttpServer[Served]):
    """Serves an emulator at ``https://localhost:port``. Raises OSError, too, where the certificate can't be read."""

    def __init__(self, emulator: Served, certificate: Path, key: Path, port: int = 0, *, host: str = LOOPBACK) -> None:
        super().__init__(emulator, port, host=host, tls=server_context(certificate, key))


def parser(program: str, description: str, *, data: str, tls: bool = False) -> argparse.ArgumentParser:
    """What every service is told: ``--port`` and ``--data``, explained by ``data``; with TLS, its certificate."""
    made = argparse.ArgumentParser(prog=program, description=description)
    add_host(made)
    made.add_argument("--port", type=int, required=True)
    if tls:
        add_certificate(made, required=True)
    made.add_argument("--data", type=Path, required=True, help=data)
    return made


def cannot_serve(program: str, host: str, port: int, error: OSError) -> int:
    """Say why the port can't be had; the exit code for that."""
    sys.stderr.write(f"{program}: can't serve on {host}:{port}: {error.strerror or error}\n")
    return 1


def serve(server: HttpServer[Any], ready: str = "ready") -> int:
    """Say that it is ready, serve until SIGTERM or SIGINT, and stop; the exit code for that."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    sys.stdout.write(f"{ready}\n")
    sys.stdout.flush()
    done.wait()
    server.stop()
    return 0
