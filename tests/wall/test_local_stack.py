"""The local stack: servers speak TLS only, and silent clients block no others."""

import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from deployments.healthy import http_status
from keyturn.core.errors import Denied, Invalid
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.gcp.store import GcpSecretManager
from keyturn.providers.postgresql.target import PostgreSQL as Target
from local.emulators.github.emulator import Conduct, Emulator
from local.emulators.github.server import Server
from local.emulators.github.state import State
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.support.ports import LOOPBACK, free_port
from local.support.serving import server_context
from local.support.tls import Certificate, certificate_in

pytestmark = pytest.mark.sampled(3, of="file")

SSL_REQUEST, GSS_REQUEST = struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104)
STARTUP = b"\x00\x03\x00\x00user\0postgres\0database\0postgres\0\0"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Somebody else's, for the same names."""
    return certificate_in(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def database(files: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("pg"), free_port(), durable=False, certificate=files) as server:
        yield server


def connected(server: PostgreSQL, **tls: Any) -> "psycopg2.extensions.connection":
    where: dict[str, Any] = {"host": server.host, "port": server.port, "dbname": "postgres", "connect_timeout": 10}
    return psycopg2.connect(user="postgres", password=server.superuser_password, **where, **tls)


def test_the_database_is_reached_over_tls_that_is_checked(database: PostgreSQL, files: Certificate) -> None:
    with closing(connected(database, sslmode="verify-full", sslrootcert=str(files.authority))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT repeat('x', 3000000)")
            assert len(cursor.fetchone()[0]) == 3_000_000  # type: ignore[index]
        assert connection.info.ssl_in_use


def test_the_database_never_asks_for_an_unencrypted_password(database: PostgreSQL) -> None:
    with socket.create_connection((LOOPBACK, database.port), 10) as client:
        client.sendall(struct.pack("!I", len(STARTUP) + 4) + STARTUP)
        assert client.recv(1000)[:1] == b"E", "an error, and no request for authentication (R)"
        assert not client.recv(1000)
    with pytest.raises(psycopg2.OperationalError, match="over TLS only: set sslmode=verify-full"):
        connected(database, sslmode="disable")


def test_a_database_with_a_foreign_certificate_receives_nothing(database: PostgreSQL, other: Certificate) -> None:
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        connected(database, sslmode="verify-full", sslrootcert=str(other.authority))
    target = Target(
        "pg",
        host=LOOPBACK,
        port=database.port,
        database="postgres",
        admin=lambda: SecretFields({"username": "postgres", "password": database.superuser_password}),
        sslmode="verify-full",
        ca_file=str(other.authority),
    )
    with pytest.raises(Denied, match="verify-full"):
        target.accepts("postgres", Sensitive(database.superuser_password))


@pytest.mark.parametrize("begins", [SSL_REQUEST, GSS_REQUEST + SSL_REQUEST], ids=["at once", "after GSSAPI"])
def test_data_sent_before_the_tls_handshake_is_discarded(database: PostgreSQL, begins: bytes) -> None:
    with socket.create_connection((LOOPBACK, database.port), 10) as client:
        # As somebody in the middle would: a statement in clear, to be run before the client's own.
        client.sendall(begins + struct.pack("!I", len(STARTUP) + 4) + STARTUP)
        heard = b""
        while chunk := receive(client):
            heard += chunk
    assert b"E" not in heard[:1]
    assert b"SCRAM" not in heard


def receive(client: socket.socket) -> bytes:
    try:
        return client.recv(1000)
    except ConnectionError:
        return b""


def test_silent_clients_block_no_others(database: PostgreSQL, files: Certificate) -> None:
    silent = [socket.create_connection((LOOPBACK, database.port), 10) for _ in range(40)]
    for client in silent[20:]:
        client.sendall(SSL_REQUEST)
    try:
        with closing(connected(database, sslmode="verify-full", sslrootcert=str(files.authority))) as connection:
            assert connection.info.ssl_in_use
    finally:
        for client in silent:
            client.close()


def test_the_database_itself_listens_on_nothing_but_a_socket_of_its_owners(database: PostgreSQL) -> None:
    with closing(connected(database, sslmode="require")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')")
        assert cursor.fetchone() == ("", ".")


def test_the_hub_takes_no_token_in_clear(files: Certificate, tmp_path: Path) -> None:
    with OpenBao(tmp_path / "bao", free_port(), dev=True, certificate=files) as hub:
        token = {"X-Vault-Token": hub.root_token}
        assert http_status(hub.port, "/v1/auth/token/lookup-self", token, ca_file=hub.ca_file) == 200
        before = hub.audit_log.read_text()
        assert http_status(hub.port, "/v1/auth/token/lookup-self", token) == 400
        assert http_status(hub.port, "/v1/sys/policies/acl", token, ca_file=hub.ca_file) is not None
        assert "lookup-self" not in hub.audit_log.read_text().removeprefix(before), "nobody looked at it"


def test_a_client_without_a_handshake_does_not_block_an_emulator(files: Certificate, tmp_path: Path) -> None:
    emulator = Emulator(State(tmp_path), "token", Conduct(None, None, frozenset()))
    with Server(emulator, tls=server_context(files.certificate, files.key)) as server:
        silent = [socket.create_connection((LOOPBACK, server.port), 10) for _ in range(10)]
        assert http_status(server.port, "/", ca_file=str(files.authority)) is not None
        assert http_status(server.port, "/") is None
        for client in silent:
            client.close()


@pytest.mark.parametrize("module", ["aws", "gcp_secret_manager"])
def test_an_unencrypted_or_silent_client_gets_nothing_and_blocks_no_others(
    module: str, files: Certificate, other: Certificate, tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", f"local.emulators.{module}", f"--port={port}", f"--data={tmp_path}"]
    command += [f"--cert={files.certificate}", f"--key={files.key}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith("ready")
            silent = [socket.create_connection((LOOPBACK, port), 10) for _ in range(10)]
            assert handshake(port, files.authority)
            assert not handshake(port, other.authority)
            assert http_status(port, "/") is None
            for client in silent:
                client.close()
        finally:
            process.terminate()


def handshake(port: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((LOOPBACK, port), 10) as connection:
        try:
            context.wrap_socket(connection, server_hostname=LOOPBACK).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_an_emulator_of_google_without_an_authority_that_can_be_read_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"ca_file .*none\.pem can't be read"):
        GcpSecretManager("gcp", project="p", endpoint=f"{LOOPBACK}:1", ca_file=str(tmp_path / "none.pem"))
