"""moto's server on loopback, which checks keys, one request at a time, and keeps the secrets between restarts."""

import signal
import socket
import ssl
import threading
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from moto import settings
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from local.emulators.aws import (
    conditions,
    credentials,
    dispatch,
    iam,
    parameter_store,
    queues,
    refusals,
    secrets_manager,
    sessions,
    simulation,
    state,
)
from local.support.files import private_directory
from local.support.ports import LOOPBACK

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

SAVE_EVERY: Final = 1.0
"""Seconds between two saves while secrets change: what a killed server can lose."""

KEPT: Final = ("secretsmanager", "AmazonSSM")
"""The services whose secrets outlast a restart, as their requests name them."""

READS: Final = ("Describe", "Get", "List", "BatchGet")


class Handler(MotoRequestHandler):
    """Answers at once and keeps the connection, as AWS does; werkzeug's own hangs up, and logs every request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def run_wsgi(self) -> None:
        """Answer one request. It is read whole first: a client that stalls holds up nobody else."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # How long one of another kind is nobody has read, so what follows it is not the next request.
        self.close_connection = self.close_connection or "Transfer-Encoding" in self.headers
        environ = {**self.make_environ(), "wsgi.input": BytesIO(body)}
        content, status, headers = self._answer(environ).get_wsgi_response(environ)
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.writelines(content)

    def _answer(self, environ: "WSGIEnvironment") -> Response:
        try:
            return cast(Application, self.server.app).answer(environ)
        except Exception:  # noqa: BLE001  what moto does not know ends one request, not the connection
            traceback.print_exc()
            return Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


class Application:
    """Wraps moto's application: one request at a time, since its threads share dictionaries without a lock.

    ``changed`` is set after a request that may have changed a secret. Refused keys are told as the JSON
    services tell them. moto's own control pages, which need no key and could switch the check off, are not there.
    """

    def __init__(self, application: "WSGIApplication", keys: iam.AccessKeys) -> None:
        self.application = application
        self.keys = keys
        self.lock = threading.Lock()
        self.changed = threading.Event()

    def answer(self, environ: "WSGIEnvironment") -> Response:
        """The answer to one request."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        answer = self._refuse(environ) or self._ask(environ)
        if target and answer.status_code == HTTPStatus.FORBIDDEN:
            answer = refusals.as_json(answer)
        service, _, action = target.partition(".")
        if service in KEPT and not action.startswith(READS):
            self.changed.set()
        return answer

    def _refuse(self, environ: "WSGIEnvironment") -> Response | None:
        allowed = "HTTP_AUTHORIZATION" in environ and not environ["PATH_INFO"].startswith("/moto-api")
        return None if allowed else Response(status=HTTPStatus.FORBIDDEN)

    def _ask(self, environ: "WSGIEnvironment") -> Response:
        with self.lock:
            return self.keys.answer(
                environ["HTTP_AUTHORIZATION"], lambda: Response.from_app(self.application, environ, buffered=True)
            )


class Keeper(threading.Thread):
    """Saves the secrets soon after they changed."""

    def __init__(self, application: Application, path: Path) -> None:
        super().__init__(daemon=True)
        self.application = application
        self.path = path
        self.stopped = threading.Event()

    def run(self) -> None:
        """Save at most once in ``SAVE_EVERY`` seconds, until stopped."""
        while not self.stopped.wait(SAVE_EVERY):
            self.save()

    def stop(self) -> None:
        """Save for the last time."""
        self.stopped.set()
        self.join()
        self.save()

    def save(self) -> None:
        """Write the file if something changed since the last time."""
        if self.application.changed.is_set():
            self.application.changed.clear()
            with self.application.lock:
                state.save(self.path)


def serve(
    listener: socket.socket,
    data: Path,
    keys: tuple[Path, Path | None, Sequence[Path]],
    key_settle: float = 0,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Answer on ``listener`` until SIGTERM or SIGINT; says ``ready`` when it does. Secrets lie in ``data``.

    ``keys`` are the files of the access key that may do everything, of one that may only read secrets, if any, and
    those of other users.
    It speaks TLS where that is given. A user's new access key is known ``key_settle`` seconds after it was made.
    """
    private_directory(data)
    dispatch.install()
    secrets_manager.install()
    parameter_store.install()
    queues.install()
    iam.install()
    sessions.install()
    conditions.install()
    simulation.install()
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    credentials.admit(*keys)
    state.restore(data / "secrets.json")
    application = Application(dispatch.Dispatcher(), iam.AccessKeys(key_settle))
    server = make_server(
        LOOPBACK,
        0,
        application,  # type: ignore[arg-type]
        threaded=True,
        request_handler=Handler,
        fd=listener.fileno(),
    )
    if tls:
        # The handshake is left to the connection's own thread, at its first read.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    keeper = Keeper(application, data / "secrets.json")
    keeper.start()
    _stop_on_signal(server)
    host, port = listener.getsockname()
    print(f"ready on {'https' if tls else 'http'}://{host}:{port}", flush=True)  # noqa: T201
    server.serve_forever(poll_interval=0.05)
    keeper.stop()


def _stop_on_signal(server: Any) -> None:
    def stop(*_: object) -> None:
        # shutdown() waits for the loop that this handler interrupted, so it needs a thread of its own.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
