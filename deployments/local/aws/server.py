"""moto's server on loopback, which checks keys, one request at a time, and keeps the secrets between restarts."""

import signal
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from deployments.local.aws import credentials, iam, parameter_store, refusals, secrets_manager, state
from deployments.local.files import private_directory
from deployments.local.ports import LOOPBACK

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SAVE_EVERY: Final = 1.0
"""Seconds between two saves while secrets change: what a killed server can lose."""

KEPT: Final = ("secretsmanager", "AmazonSSM")
"""The services whose secrets outlast a restart, as their requests name them."""

READS: Final = ("Describe", "Get", "List", "BatchGet")


class QuietHandler(MotoRequestHandler):
    """Logs errors and no requests, and answers without waiting for the client's acknowledgement."""

    disable_nagle_algorithm = True
    wbufsize = -1

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: a line for each request tells nobody anything here."""


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

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        answer = self._refuse(environ) or self._ask(environ)
        if target and answer.status_code == HTTPStatus.FORBIDDEN:
            answer = refusals.as_json(answer)
        service, _, action = target.partition(".")
        if service in KEPT and not action.startswith(READS):
            self.changed.set()
        return answer(environ, start_response)

    def _refuse(self, environ: "WSGIEnvironment") -> Response | None:
        allowed = "HTTP_AUTHORIZATION" in environ and not environ["PATH_INFO"].startswith("/moto-api")
        return None if allowed else Response(status=HTTPStatus.FORBIDDEN)

    def _ask(self, environ: "WSGIEnvironment") -> Response:
        # Read first, so that a client that stalls holds up nobody else.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        whole = {**environ, "wsgi.input": BytesIO(body)}
        with self.lock:
            return self.keys.answer(
                environ["HTTP_AUTHORIZATION"], lambda: Response.from_app(self.application, whole, buffered=True)
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


def serve(listener: socket.socket, data: Path, key_settle: float = 0) -> None:
    """Answer on ``listener`` until SIGTERM or SIGINT; says ``ready`` when it does. Secrets and key lie in ``data``.

    A user's new access key is known ``key_settle`` seconds after it was made.
    """
    private_directory(data)
    secrets_manager.install()
    parameter_store.install()
    iam.install()
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    credentials.admit(data / "credentials")
    state.restore(data / "secrets.json")
    application = Application(DomainDispatcherApplication(create_backend_app), iam.AccessKeys(key_settle))
    server = make_server(LOOPBACK, 0, application, threaded=True, request_handler=QuietHandler, fd=listener.fileno())
    keeper = Keeper(application, data / "secrets.json")
    keeper.start()
    _stop_on_signal(server)
    print(f"ready on http://{LOOPBACK}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    server.serve_forever(poll_interval=0.05)
    keeper.stop()


def _stop_on_signal(server: Any) -> None:
    def stop(*_: object) -> None:
        # shutdown() waits for the loop that this handler interrupted, so it needs a thread of its own.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
