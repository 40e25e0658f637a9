"""A proxy before the local AWS that asks for a slower pace: some operations are answered as AWS does it then."""

import http.client
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

THROTTLED = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode()


class ThrottlingProxy:
    """Passes everything on to ``upstream`` while it is entered, but refuses the next ``left`` calls of ``refuses``.

    ``refuses`` are operations such as PutSecretValue, or "*" for all; ``refused`` counts them.
    """

    def __init__(self, upstream: str) -> None:
        self.refuses: tuple[str, ...] = ()
        self.left = 0
        self.refused = 0
        self._lock = threading.Lock()
        address = urlsplit(upstream)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["content-length"]))
                if self._refuse(handler.headers.get("x-amz-target", "").rpartition(".")[2]):
                    handler.respond(HTTPStatus.BAD_REQUEST, THROTTLED)
                    return
                connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
                try:
                    connection.request("POST", handler.path, body, dict(handler.headers.items()))
                    answer = connection.getresponse()
                    handler.respond(answer.status, answer.read())
                finally:
                    connection.close()

            def respond(handler, status: int, body: bytes) -> None:  # noqa: N805
                handler.send_response(status)
                handler.send_header("content-type", "application/x-amz-json-1.1")
                handler.send_header("content-length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: Any) -> None:  # noqa: N805
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def throttle(self, *operations: str, times: int = 1_000_000) -> None:
        """Refuse the next ``times`` calls of these."""
        with self._lock:
            self.refuses, self.left, self.refused = operations, times, 0

    def relent(self) -> None:
        """Pass everything on again."""
        self.throttle(times=0)

    def _refuse(self, operation: str) -> bool:
        with self._lock:
            if not self.left or not {operation, "*"} & set(self.refuses):
                return False
            self.left -= 1
            self.refused += 1
            return True

    def __enter__(self) -> "ThrottlingProxy":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
