"""The drill's own consumer: an application that lives on the secret, and is told of its revocation."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from deployments.local import environment
from deployments.local.consumer.application import Application
from deployments.local.consumer.database import Address
from deployments.local.consumer.sources import Credential, HubSource, Source, read_promised
from deployments.local.drill.accounts import address
from deployments.local.drill.declared import CONSUMER
from deployments.local.drill.samples import Sample
from deployments.local.home import Stack
from deployments.local.support.ports import LOOPBACK
from keyturn.client.webhook import Receiver, wsgi_app
from keyturn.core.errors import NotFound
from keyturn.core.hub import Hub
from keyturn.core.notices import SECRET_REVOKED, Notice
from keyturn.core.sensitive import SecretFields, Sensitive

PATIENCE: Final = 5.0


class Comparing:
    """An application that its callers present the secret to, such as the key of an API."""

    def __init__(self, source: Source, path: str) -> None:
        self._source, self._path = source, path
        self._held: Credential | None = None

    def start(self) -> None:
        """Read what callers have to present. Raises NotFound."""
        self._held = self._source.read(self._path)

    def follow(self, notice: Notice) -> None:
        """Accept the new value alone; none, where it was revoked and nothing took its place."""
        try:
            credential = read_promised(self._source, notice, self._held, PATIENCE)
        except NotFound:
            if notice.event != SECRET_REVOKED:
                raise
            self._held = None
            return
        ended = notice.event == SECRET_REVOKED and self._held is not None and credential.fields == self._held.fields
        self._held = None if ended else credential

    def accepts(self, presented: SecretFields) -> bool:
        """Whether a caller is let in with it."""
        return self._held is not None and self._held.fields == presented

    def stop(self) -> None:
        """Nothing runs."""


def consumer_of(sample: Sample, stack: Stack, hub: Hub, path: str) -> Application | Comparing:
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
