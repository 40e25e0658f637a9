"""A TLS server that loads each new certificate on notice, without interrupting clients."""

import dataclasses
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.notifications.notices import SECRET_ROTATED
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from tests.support.authorities import bare_authorities
from tests.support.clock import Clock
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.pki import Pki
from tests.support.sender import RecordingSender
from tests.support.world import REGION

NAME = "www.ml.internal"
PATIENCE = 60.0
PAUSE = 0.02


class TlsServer(RecordingSender):
    """Answers each connection with the certificate in force when it came, and is told of new ones as a consumer is.

    A context is made anew for each certificate and then put in the place of the one before: changing certificate and
    key of one that serves leaves a moment in which they don't belong together.
    """

    def __init__(self, lab: Lab, path: str, directory: Path) -> None:
        super().__init__()
        self.lab, self.path, self.directory = lab, path, directory
        self.context: ssl.SSLContext | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def deliver(
        self,
        consumer: str,
        path: str,
        version: int,
        at: datetime,
        event: str = SECRET_ROTATED,
        *,
        made: bool = False,
        replaced: bool = True,
    ) -> None:
        """Take the new certificate."""
        super().deliver(consumer, path, version, at, event, made=made, replaced=replaced)
        self.reload()

    def reload(self) -> None:
        """Serve CURRENT from the next connection on."""
        secret = self.lab.hub.read(self.path)
        assert secret is not None
        pair = self.directory / f"v{secret.version}.pem"
        pair.write_text(secret.fields["private_key"].reveal() + secret.fields["bundle"].reveal())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        self.context = context

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                assert self.context is not None
                connection.settimeout(PATIENCE)
                with suppress(OSError), self.context.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(b"well")
                    tls.recv(1)


class Client:
    """Connects again and again, trusts the root alone, and goes by the revocation list of the moment."""

    def __init__(self, anchor: str, lists: Callable[[], str], directory: Path, port: int) -> None:
        self.anchor, self.lists, self.directory, self.port = anchor, lists, directory, port
        self.serials, self.failures = list[str](), list[str]()
        self.changed, self.ended = threading.Condition(), False
        self.thread = threading.Thread(target=self._connect)
        self.thread.start()

    def wait_for(self, serial: str) -> None:
        """Until it has seen the certificate, or can't any more."""
        with self.changed:
            assert self.changed.wait_for(lambda: serial in self.serials[-1:] or bool(self.failures), PATIENCE)

    def close(self) -> None:
        self.ended = True
        self.thread.join(PATIENCE)

    def _connect(self) -> None:
        while not self.ended:
            time.sleep(PAUSE)
            try:
                serial = self._handshake()
            except OSError as error:
                with self.changed:
                    self.failures.append(str(error))
                    self.changed.notify_all()
                return
            with self.changed:
                self.serials.append(serial)
                self.changed.notify_all()

    def _handshake(self) -> str:
        context = ssl.create_default_context(cadata=self.anchor)
        listed = self.directory / "list.pem"
        listed.write_text(self.lists())
        context.load_verify_locations(listed)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        with plain, context.wrap_socket(plain, server_hostname=NAME) as tls:
            assert tls.recv(4) == b"well"
            served = tls.getpeercert()
            tls.sendall(b".")
        assert served is not None
        return bytes.fromhex(str(served["serialNumber"])).hex(":")


@pytest.fixture
def pki(lab: Lab, tmp_path: Path) -> Pki:
    return Pki(lab, tmp_path)


@pytest.fixture
def declared(pki: Pki) -> Declared:
    rotation = {"strategy": "certificate", "role": pki.role(), "common_name": NAME, "ttl": "47d", "grace": "1h"}
    data = {"owner": "tests@example.com", "classification": "internal", "consumers": ["web"]}
    return Declared(f"tests/{fresh()}", {**data, "rotation": rotation}, {})


@pytest.fixture
def server(lab: Lab, declared: Declared, tmp_path: Path) -> Iterator[TlsServer]:
    made = TlsServer(lab, declared.path, tmp_path)
    yield made
    made.close()


def opened(lab: Lab, declared: Declared, server: TlsServer, clock: Clock) -> Workspace:
    """A worker's Keyturn that tells the server."""
    store = {"kind": "aws-secrets-manager", "region": REGION}
    consumers = {"web": {"url": "https://web.example.com", "signing_key": "webhooks/web"}}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, (declared,), store, consumers))
    workspace = open_workspace(catalogue, lab.hub)
    return dataclasses.replace(workspace, clock=clock, hub_clock=clock, sender=server, open_store=MemoryStore)


def test_no_handshake_fails_while_certificates_are_replaced_and_the_old_ones_revoked(
    lab: Lab, pki: Pki, declared: Declared, server: TlsServer, tmp_path: Path
) -> None:
    clock = Clock()
    workspace = opened(lab, declared, server, clock)
    rotate(workspace, declared.path)
    server.reload()
    client = Client(pki.root_certificate(), pki.revocation_list, tmp_path, server.listener.getsockname()[1])
    serials = [lab.current(declared)["serial"]]
    try:
        client.wait_for(serials[0])
        for _ in range(2):
            clock.advance(timedelta(days=32))
            rotate(workspace, declared.path)
            serials.append(lab.current(declared)["serial"])
            client.wait_for(serials[-1])
            clock.advance(timedelta(hours=1))
            assert retire(workspace, declared.path).retired
            client.wait_for(serials[-1])
    finally:
        client.close()
    assert client.failures == []
    assert list(dict.fromkeys(client.serials)) == serials


MOVES = {
    "RSA to a curve": ({"key": "rsa-2048"}, "rsa-2048", {"key": "p-384"}, "p-256"),
    "a curve to ML-DSA": ({}, "p-256", {}, "ml-dsa-44"),
    "an intermediate to its next": ({}, "p-256", {"common_name": "Next Services"}, "p-256"),
}
"""What is declared of the intermediate, and the kind of the certificate's key: before, and after one line is changed.
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("move", MOVES)
def test_no_handshake_fails_while_an_authority_or_an_algorithm_is_changed(
    lab: Lab, declared: Declared, server: TlsServer, tmp_path: Path, move: str
) -> None:
    authorities, clock, serials = bare_authorities(lab), Clock(), list[str]()
    authorities.mount()
    authority, key, next_authority, next_key = MOVES[move]

    def bring(services: dict[str, str], kind: str) -> Workspace:
        authorities.declare(services=services)
        authorities.apply()
        asked = {"mount": authorities.services, "role": "ml-services", "key": kind}
        rotation = {**declared.data["rotation"], **asked}
        changed = dataclasses.replace(declared, data={**declared.data, "rotation": rotation})
        workspace = opened(lab, changed, server, clock)
        rotate(workspace, declared.path, Trigger.FORCE)
        serials.append(lab.current(declared)["serial"])
        return workspace

    bring(authority, key)
    server.reload()
    (anchor,) = authorities.anchors()
    client = Client(anchor, authorities.revocation_lists, tmp_path, server.listener.getsockname()[1])
    try:
        client.wait_for(serials[0])
        workspace = bring(next_authority, next_key)
        client.wait_for(serials[1])
        clock.advance(timedelta(hours=1))
        assert retire(workspace, declared.path).retired
        client.wait_for(serials[1])
    finally:
        client.close()
    assert client.failures == []
    assert list(dict.fromkeys(client.serials)) == serials
