"""Whom the demonstration calls when a run fails: a receiver of Apprise's JSON messages, on loopback."""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keyturn.client.webhooks.receiver import readable_size
from keyturn.core.errors import Unavailable
from local.support.ports import LOOPBACK


class Pager:
    """Keeps every message; ``address`` is what an Apprise block takes. Raises Unavailable when ``port`` is taken."""

    def __init__(self, port: int) -> None:
        self.messages: list[str] = []
        self._arrived = threading.Condition()
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), self._handler())
        except OSError:
            problem = f"port {port} is in use by another program"
            raise Unavailable("start", "the pager", problem, "End that program, then try again") from None
        self.address = f"json://{LOOPBACK}:{port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, timeout: float, *words: str) -> str | None:
        """The newest message with all of these words, after ``timeout`` seconds at most; None when there is none."""

        def newest() -> str | None:
            return next((text for text in reversed(self.messages) if all(word in text for word in words)), None)

        with self._arrived:
            return self._arrived.wait_for(newest, timeout)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, body: bytes) -> HTTPStatus:
        try:
            event = json.loads(body)
            message = f"{event['title']}\n{event['message']}"
        except (ValueError, TypeError, LookupError, RecursionError):
            return HTTPStatus.BAD_REQUEST
        with self._arrived:
            self.messages.append(message)
            self._arrived.notify_all()
        return HTTPStatus.OK

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = readable_size(self.headers.get("content-length", ""))
                status = HTTPStatus.BAD_REQUEST if size is None else keep(self.rfile.read(size))
                self.send_response(status)
                self.end_headers()

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """The demonstration's own output is enough."""

        return Handler
