"""Accepts notices over HTTP for a program, and answers after applying them."""

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socket import SO_REUSEADDR, SOL_SOCKET
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from keyturn.client.webhooks.receiver import Receiver, wsgi_app
from keyturn.core.errors import Invalid
from keyturn.core.notifications.notices import HEALTH_PATH, Notice

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REUSE: Final = (SOL_SOCKET, SO_REUSEADDR, 1)

SLOW: Final = 30
"""Seconds that a sender may be silent."""
LONGEST_ANSWER: Final = 1.0
"""Seconds to send a finished answer."""
PAUSE: Final = 0.01
CONNECTIONS: Final = 64
"""Concurrent connections; a sender above the limit tries again."""


class Handler(WSGIRequestHandler):
    timeout = SLOW

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the receiver logs refusals."""


class Server(ThreadingMixIn, WSGIServer):
    """A server with one thread for each connection, and a limit."""

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self.answering: set[int] = set()
        super().__init__(address, Handler)
        if tls:
            # The connection's own thread does the handshake, at its first read.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        """Bind, without asking a name server for the host's name."""
        self.socket.setsockopt(*REUSE)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close above the limit."""
        if not self._room.acquire(blocking=False):
            return self.shutdown_request(request)
        return super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.answering.discard(threading.get_ident())
            self._room.release()

    def wait_for_answers(self) -> None:
        until = time.monotonic() + LONGEST_ANSWER
        while self.answering and time.monotonic() < until:
            time.sleep(PAUSE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection; the sender tries again."""


class Listener:
    """Listens at ``address``, and passes notices to ``on_notice`` after :meth:`begin`."""

    def __init__(
        self,
        address: tuple[str, int],
        receiver: Receiver,
        on_notice: Callable[[Notice], object],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        try:
            self._server = Server(address, tls)
        except OSError as error:
            place = f"{address[0]}:{address[1]}"
            raise Invalid("listen at", place, error.strerror or "it can't be", "Choose another address") from None
        self._server.set_app(with_health(wsgi_app(receiver, on_notice), self._server.answering))

    @property
    def port(self) -> int:
        return self._server.server_port

    def begin(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="keyturn-notices", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.wait_for_answers()
        self._server.server_close()


def with_health(app: "WSGIApplication", answering: set[int]) -> "WSGIApplication":
    """The application with a health check, which succeeds while the program runs.

    ``answering`` contains the threads that answer.
    """

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answering.add(threading.get_ident())
        if environ.get("PATH_INFO") != HEALTH_PATH:
            return app(environ, start_response)
        status = HTTPStatus.OK
        start_response(f"{status.value} {status.phrase}", [("content-length", "0")])
        return []

    return answer
