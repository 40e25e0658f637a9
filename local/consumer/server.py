"""The application's HTTP side: notices in, health and counters out."""

import json
import ssl
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keyturn.client.webhooks.receiver import BODY_LIMIT, Receiver, readable_size
from keyturn.core.notifications.notices import HEALTH_PATH, NOTICE_PATH
from local.consumer.application import Application


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    # Small writes would wait 40 ms each for the client's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, application: Application, receiver: Receiver, *arguments: Any) -> None:
        self.application = application
        self.receiver = receiver
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Health and counters."""
        if self.path == HEALTH_PATH:
            healthy = self.application.stats.healthy
            self._answer(HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, {"healthy": healthy})
        elif self.path == "/stats":
            self._answer(HTTPStatus.OK, self.application.shown())
        else:
            self._answer(HTTPStatus.NOT_FOUND, {})

    def do_POST(self) -> None:
        """A notice."""
        size = readable_size(self.headers.get("content-length", ""))
        if self.path != NOTICE_PATH or size is None:
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED if self.path == NOTICE_PATH else HTTPStatus.NOT_FOUND, {})
            return
        # What is not read would be taken for the next request.
        self.close_connection = size > BODY_LIMIT
        body = self.rfile.read(size)
        self._answer(self.receiver.handle(dict(self.headers.items()), body, self.application.follow), {})

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the counters tell what happened."""

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Serves ``application`` at ``address``, over ``tls`` where that is given; port 0 takes a free one, see ``url``."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        application: Application,
        receiver: Receiver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(address, partial(Handler, application, receiver))
        self.url = f"{'https' if tls else 'http'}://{address[0]}:{self.server_port}"
        if tls:
            # The handshake is left to the connection's own thread, at its first read.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
