"""No password, token or secret value leaves the machine unencrypted."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from keyturn.catalogue import Catalogue
from keyturn.core.clear_text import is_loopback, leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.ledger.address import open_ledger
from keyturn.providers.libpq import guarded, public_authorities, tls
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.settings.hub import HubSettings
from local.support.ports import LOOPBACK

CLEAR = "http://clear.example.com"
PASSWORD = "pw-that-nobody-may-hear"
ADMIN = SecretFields({"username": "keyturn_admin", "password": PASSWORD})
PUBLIC = str(public_authorities({}))
ASK_CLEARTEXT, ASK_MD5, WELCOME = b"\x00\x00\x00\x03", b"\x00\x00\x00\x05salt", b"\x00\x00\x00\x00"
"""The bodies of PostgreSQL's authentication requests. Source: "Message Formats" in its documentation."""


@contextmanager
def rogue_postgresql(demand: bytes, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Somebody in the database's place, with this TLS if any, who asks for the password so: port and what is heard."""
    heard: list[bytes] = []
    with closing(socket.create_server((LOOPBACK, 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with closing(connection), suppress(ssl.SSLError):  # whoever does not trust it hangs up
                    talk(connection, demand, heard, tls)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def talk(connection: socket.socket, demand: bytes, heard: list[bytes], tls: ssl.SSLContext | None) -> None:
    """Say whether there is TLS, ask for the password, and keep all that comes."""
    connection.settimeout(5)
    message = connection.recv(4096)
    if message[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest
        connection.sendall(b"S" if tls else b"N")
        connection = tls.wrap_socket(connection, server_side=True) if tls else connection
        message = b""
    with closing(connection):
        message = message or connection.recv(4096)
        heard.append(message)
        if message:
            connection.sendall(b"R" + (len(demand) + 4).to_bytes(4, "big") + demand)
            heard.append(connection.recv(4096))


@pytest.mark.parametrize("demand", [ASK_CLEARTEXT, ASK_MD5, WELCOME], ids=["cleartext", "md5", "welcome"])
def test_a_false_database_server_receives_no_password(demand: bytes) -> None:
    with rogue_postgresql(demand) as (port, heard):
        target = PostgreSQL("pg", host=LOOPBACK, port=port, database="app", admin=lambda: ADMIN)
        with pytest.raises(Denied, match="scram-sha-256"):
            target.accepts("app_a", Sensitive(PASSWORD))
        with pytest.raises(Denied, match=r"pg_hba\.conf"):
            target.set_password("app_a", Sensitive(PASSWORD), sequence=1)
    assert len(heard) == 4
    assert heard[0], "it was not spoken to at all"
    assert PASSWORD.encode() not in b"".join(heard)


def test_a_database_without_tls_is_refused_where_tls_is_required() -> None:
    with rogue_postgresql(ASK_CLEARTEXT) as (port, heard):
        target = PostgreSQL("pg", host=LOOPBACK, port=port, database="app", admin=lambda: ADMIN, sslmode="verify-full")
        with pytest.raises(Denied, match="verify-full"):
            target.accepts("app_a", Sensitive(PASSWORD))
    assert not any(heard)


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.example.com", "verify-full"),
        ("192.0.2.7", "verify-full"),
        ("localhost.example.com", "verify-full"),
        (LOOPBACK, "prefer"),
        ("localhost", "prefer"),
        ("/run/postgresql", "prefer"),
    ],
)
def test_a_remote_database_requires_tls_unless_the_operator_disables_it(
    monkeypatch: pytest.MonkeyPatch, host: str, mode: str
) -> None:
    settings: dict[str, object] = {}
    monkeypatch.setattr("keyturn.providers.postgresql.target.psycopg2.connect", lambda **given: settings.update(given))
    with pytest.raises(AttributeError):  # there is no connection to close
        PostgreSQL("pg", host=host, port=5432, database="app", admin=lambda: ADMIN).accepts("a", Sensitive("b"))
    assert settings["sslmode"] == mode
    authorities = settings.get("sslrootcert")
    assert (authorities is None) == (mode == "prefer")
    assert authorities is None or "-----BEGIN CERTIFICATE-----" in Path(str(authorities)).read_text()
    assert settings["require_auth"] == "scram-sha-256"


@pytest.mark.parametrize(
    ("address", "env", "insisted"),
    [
        ("postgresql://me@db.example.com/ledger", {}, {"sslmode": "verify-full", "sslrootcert": PUBLIC}),
        ("postgresql://me@a.example.com,b.example.com/ledger", {}, {"sslmode": "verify-full", "sslrootcert": PUBLIC}),
        ("postgresql:///ledger", {"PGHOST": "db.example.com"}, {"sslmode": "verify-full", "sslrootcert": PUBLIC}),
        ("postgresql://me@db.example.com/ledger?sslmode=verify-full", {}, {"sslrootcert": PUBLIC}),
        ("postgresql://me@db.example.com/ledger?sslmode=require", {}, {}),
        ("postgresql://me@db.example.com/ledger", {"PGSSLROOTCERT": "/ca.pem"}, {"sslmode": "verify-full"}),
        ("postgresql://me@localhost/ledger", {}, {"sslmode": "prefer"}),
        ("postgresql:///ledger", {}, {"sslmode": "prefer"}),
    ],
)
def test_a_remote_ledger_requires_tls_unless_its_address_disables_it(
    address: str, env: dict[str, str], insisted: dict[str, str]
) -> None:
    assert guarded(address, env) == insisted | {"require_auth": "!password,!md5"}
    assert "require_auth" not in guarded(f"{address}{'&' if '?' in address else '?'}require_auth=password", env)


def test_libpqs_own_authorities_stay_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tls(["db.example.com"], None, None, {})["sslrootcert"] == PUBLIC
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert tls(["db.example.com"], None, None, {}) == {"sslmode": "verify-full"}


@pytest.mark.parametrize("said_by", ["ca_file", "SSL_CERT_FILE", "nobody"])
def test_a_database_with_a_private_authority_is_reached_with_its_ca_file(
    said_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("HOME", str(tmp_path))
    if said_by == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    ca_file = str(tmp_path / "ca.pem") if said_by == "ca_file" else None
    with rogue_postgresql(ASK_CLEARTEXT, server) as (port, heard):
        target = PostgreSQL(
            "pg",
            host="localhost",
            port=port,
            database="app",
            admin=lambda: ADMIN,
            sslmode="verify-full",
            ca_file=ca_file,
        )
        with pytest.raises(Denied, match="verify-full" if said_by == "nobody" else "scram-sha-256"):
            target.accepts("app_a", Sensitive(PASSWORD))
    assert bool(heard) == (said_by != "nobody")


def test_a_false_ledger_server_receives_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with rogue_postgresql(ASK_CLEARTEXT) as (port, heard):
        ledger = open_ledger(f"postgresql://me@{LOOPBACK}:{port}/ledger")
        with closing(ledger), pytest.raises(KeyturnError):
            ledger.size()
    assert heard[0], "it was not spoken to at all"
    assert PASSWORD.encode() not in b"".join(heard)


def test_a_hub_on_another_machine_has_an_https_address() -> None:
    env = {"VAULT_ADDR": "http://vault.example.com:8200"}
    with pytest.raises(Invalid, match=r"vault\.example\.com.*KEYTURN_HUB_INSECURE_HTTP=true"):
        HubSettings.from_environment(env)
    assert HubSettings.from_environment({**env, "KEYTURN_HUB_INSECURE_HTTP": "true"}).insecure_http
    assert not HubSettings.from_environment({"VAULT_ADDR": "https://vault.example.com:8200"}).insecure_http
    assert not HubSettings.from_environment({"VAULT_ADDR": f"http://{LOOPBACK}:8200"}).insecure_http


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("stores", {"kind": "aws-secrets-manager", "region": "eu-central-1", "endpoint_url": CLEAR}),
        ("stores", {"kind": "aws-parameter-store", "region": "eu-central-1", "endpoint_url": CLEAR}),
        ("stores", {"kind": "azure-key-vault", "vault_url": CLEAR}),
        ("stores", {"kind": "azure-key-vault", "vault_url": "https://a.vault.azure.net", "authority": CLEAR}),
        ("stores", {"kind": "gcp-secret-manager", "project": "my-project", "endpoint": CLEAR[7:] + ":80"}),
        ("stores", {"kind": "gcp-secret-manager", "project": "my-project", "endpoint": "ipv4:10.0.0.1:80"}),
        ("stores", {"kind": "kubernetes", "namespace": "app", "server": CLEAR, "token_file": "/token"}),
        ("stores", {"kind": "vault", "address": CLEAR, "token_file": "/token"}),
        ("stores", {"kind": "github-actions", "repository": "a/b", "token_file": "/token", "api_url": CLEAR}),
        ("targets", {"kind": "http-api", "admin": "targets/api", "url": CLEAR}),
        ("targets", {"kind": "aws-iam", "endpoint_url": CLEAR}),
        ("targets", {"kind": "microsoft-graph", "endpoint": CLEAR}),
        ("targets", {"kind": "microsoft-graph", "authority": CLEAR}),
        ("targets", {"kind": "azure-resource-manager", "subscription": "s", "endpoint": CLEAR}),
        ("targets", {"kind": "gcp-iam", "project": "my-project", "endpoint": CLEAR[7:] + ":80"}),
        ("consumers", {"url": CLEAR, "signing_key": "webhooks/app"}),
    ],
)
def test_no_remote_address_of_a_catalogue_is_used_without_encryption(part: str, settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        Catalogue.model_validate({part: {"place": settings}})
    (error,) = raised.value.errors()
    assert re.search("https|this machine", error["msg"] + error["ctx"]["remedy"])


@pytest.mark.parametrize("host", ["ipv4:169.254.169.254", "dns:gcp", "unix:gcp", "user@gcp", "gcp/x", "gcp gcp", ""])
def test_an_emulators_address_is_a_plain_host(host: str) -> None:
    place = {"kind": "gcp-secret-manager", "project": "my-project", "endpoint": f"{host}:443", "ca_file": "/ca.pem"}
    with pytest.raises(ValidationError, match="is not host:port"):
        Catalogue.model_validate({"stores": {"place": place}})
    assert Catalogue.model_validate({"stores": {"place": {**place, "endpoint": "gcp:9090"}}})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_the_local_machine_is_recognised_by_its_addresses(host: str) -> None:
    assert is_loopback(host)
    assert not leaves_in_clear(f"http://{host if '::' not in host or host[0] == '[' else f'[{host}]'}:80/x")


@pytest.mark.parametrize("host", ["", "example.com", "10.0.0.1", "127.0.0.1.example.com", "[2001:db8::1]"])
def test_every_other_host_is_another_machine(host: str) -> None:
    assert not is_loopback(host)
    assert leaves_in_clear(f"http://{host}/x")
    assert not leaves_in_clear(f"https://{host}/x")
