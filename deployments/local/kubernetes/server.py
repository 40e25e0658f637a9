"""HTTPS on loopback: a thread for each connection, which stays open between calls."""

import socket
import socketserver
import ssl
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from deployments.local.kubernetes.emulator import Emulator
from deployments.local.kubernetes.messages import Answer, Refusal, Request
from deployments.local.ports import LOOPBACK

IDLE_SECONDS: Final = 60
MAX_BODY: Final = 3 << 20
"""What the API server takes at once."""
MOST_DROPPED: Final = 16 << 20


class Server:
    """Serves an emulator at ``https://localhost:port`` from construction to :meth:`stop`.

    ``port`` 0 takes any free one. Raises OSError when the port is in use or the certificate can't be read.
    """

    def __init__(self, emulator: Emulator, certificate: Path, key: Path, port: int = 0) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # Tickets for resuming a session would come at any time after the handshake, and nobody resumes one here.
        context.num_tickets = 0
        self.emulator = emulator
        self._listener = _Listener(emulator, context, port)
        self.port: int = self._listener.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every open connection, then the emulator."""
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.hang_up()
        self._thread.join()
        self.emulator.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, emulator: Emulator, context: ssl.SSLContext, port: int) -> None:
        self.emulator = emulator
        self._context = context
        self._open: set[socket.socket] = set()
        super().__init__((LOOPBACK, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        raw, address = self.socket.accept()
        raw.settimeout(IDLE_SECONDS)
        # The handshake is left to the connection's own thread: a silent client must not keep others waiting.
        connection = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
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
        sys.stderr.write(f"kubernetes: {kind.__name__} at {place}\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "KubernetesEmulator"
    sys_version = ""
    # An answer leaves in one segment, at once: headers and body apart would wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request line holds names, and nobody asked for them."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            # A client that is still sending would not read the answer.
            self.rfile.read(min(int(length), MOST_DROPPED) if length.isdigit() else 0)
            self._send(Refusal(413, f"Request entity too large: limit is {MAX_BODY}").answer)
            return
        address = urlsplit(self.path)
        request = Request(
            self.command,
            tuple(unquote(part) for part in address.path.split("/") if part),
            dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(length)),
        )
        self._send(self.server.emulator.answer(request))

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 (the names that http.server looks for)

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        headers = {
            "Date": formatdate(usegmt=True),
            "Cache-Control": "no-cache, private",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **answer.headers,
        }
        self.send_response_only(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
