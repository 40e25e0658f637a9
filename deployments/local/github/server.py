"""HTTP on loopback: a thread for each connection, which stays open between calls."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from deployments.local.github.emulator import Emulator
from deployments.local.github.messages import Answer, Refusal, Request
from deployments.local.ports import LOOPBACK

IDLE_SECONDS: Final = 60
MAX_BODY: Final = 1 << 20
SCHEMES: Final = ("bearer", "token")


class Server(ThreadingHTTPServer):
    """Serves an emulator at ``http://127.0.0.1:port``. Raises OSError where the port is taken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, emulator: Emulator, port: int) -> None:
        self.emulator = emulator
        super().__init__((LOOPBACK, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say which error it was and where, never its text, which could hold part of a request."""
        kind, error, trace = sys.exc_info()
        if isinstance(error, OSError) or trace is None or kind is None:
            return  # the client hung up
        while trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        sys.stderr.write(f"github: {kind.__name__} at {place}\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "GitHubEmulator"
    sys_version = ""
    timeout = IDLE_SECONDS
    # An answer leaves in one segment, at once: headers and body apart would wait 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request line holds names, and nobody asked for them."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._send(Refusal(400, "The request body has no usable length.").answer)
            return
        address, body = urlsplit(self.path), self.rfile.read(int(length))
        if not self.headers.get("User-Agent"):
            self._send(Refusal(403, "Request forbidden by administrative rules.").answer)
            return
        parts = tuple(unquote(part) for part in address.path.strip("/").split("/"))
        query = parse_qs(address.query, keep_blank_values=True)
        self._send(self.server.emulator.answer(Request(self.command, parts, query, self._token(), body)))

    def _token(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() in SCHEMES else ""

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _serve  # noqa: N815 (the names that http.server looks for)

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())
        for name, text in answer.headers.items():
            self.send_header(name, text)
        if content:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
