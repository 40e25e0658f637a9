"""A consumer on loopback: it takes signed notices with the library's own receiver, and drops repeats by id."""

import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.notifications.notices import HEALTH_PATH, Notice
from keyturn.core.sensitive import Sensitive


class Consumer:
    """Serves from a thread while it is entered. ``handled`` are the notices it acted on, ``delivered`` counts all.

    ``health`` is what it answers when asked how it is, ``asked`` counts that. ``signing_key`` is where its key lies.
    Its answers are dated by a clock that is ``clock_ahead`` seconds wrong.
    """

    def __init__(self, key: Sensitive | Callable[[], Sequence[Sensitive]], signing_key: str = "") -> None:
        self.signing_key = signing_key
        self.health = HTTPStatus.OK
        self.asked = 0
        self.handled: list[Notice] = []
        self.delivered = 0
        self.clock_ahead = 0.0
        receiver = Receiver([key] if isinstance(key, Sensitive) else key)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["content-length"]))
                self.delivered += 1
                status = receiver.handle(dict(handler.headers.items()), body, self.handled.append)
                handler.send_response(status)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def do_GET(handler) -> None:  # noqa: N805
                self.asked += 1
                handler.send_response(self.health if handler.path == HEALTH_PATH else HTTPStatus.NOT_FOUND)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def date_time_string(handler, timestamp: float | None = None) -> str:  # noqa: N805
                return super().date_time_string((timestamp or time.time()) + self.clock_ahead)

            def log_message(handler, *_: Any) -> None:  # noqa: N805
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def versions(self, path: str) -> list[int]:
        """The versions of one secret that it was told of, once each."""
        return [notice.version for notice in self.handled if notice.secret_path == path]

    def __enter__(self) -> "Consumer":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
