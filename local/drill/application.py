"""The drill's own consumer: an application that lives on the secret, and is told of its revocation."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret, SecretSource
from keyturn.client.sources import HubSource, ReadableHub
from keyturn.client.webhooks.receiver import Receiver, wsgi_app
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.sensitive import SecretFields, Sensitive
from local import environment
from local.consumer.application import Application
from local.consumer.database import Address
from local.drill.accounts import address
from local.drill.declared import CONSUMER
from local.drill.samples import Sample
from local.home import Stack
from local.support.ports import LOOPBACK

PATIENCE: Final = 5.0


class Comparing:
    """An application that its callers present the secret to, such as the key of an API."""

    def __init__(self, source: SecretSource, path: str) -> None:
        self._client = SecretClient([source], poll=0, patience=PATIENCE)
        self._path = path
        self._secret: Secret | None = None

    def start(self) -> None:
        """Read what callers have to present. Raises NotFound."""
        self._secret = self._client.get(self._path)

    def follow(self, notice: Notice) -> None:
        """Accept the new value alone; none, where it was revoked and nothing took its place."""
        self._client.told(notice)
        secret, before = self._client.in_force(notice), self._secret
        ended = notice.event == SECRET_REVOKED and secret and before and secret.fields == before.fields
        self._secret = None if ended else secret

    def accepts(self, presented: SecretFields) -> bool:
        """Whether a caller is let in with it."""
        return self._secret is not None and self._secret.fields == presented

    def stop(self) -> None:
        """Keep nothing any more."""
        self._client.close()


def consumer_of(sample: Sample, stack: Stack, hub: ReadableHub, path: str) -> Application | Comparing:
    """The application that fits the secret, which reads the hub."""
    if not sample.logs_in:
        return Comparing(HubSource(hub), path)
    where, trusted = address(stack), environment.ca_file(stack)
    database = Address(where["host"], where["port"], where["database"], trusted)
    return Application(CONSUMER, HubSource(hub), path, database)


class Quiet(WSGIRequestHandler):
    """Answers at once, and says nothing."""

    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Threaded(ThreadingMixIn, WSGIServer):
    """Each notice in a thread of its own."""

    daemon_threads = True
    block_on_close = False


@contextmanager
def listening(key: Sensitive, on_notice: Callable[[Notice], object]) -> Iterator[str]:
    """Take notices that are signed with ``key``, on loopback; the address."""
    app = wsgi_app(Receiver([key]), on_notice)
    with make_server(LOOPBACK, 0, app, Threaded, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
