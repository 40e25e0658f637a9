"""Why a connection failed: real servers that fail in one way each, seen through the adapters."""

import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, Unproven
from keyturn.core.ports.rest import Request
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.kubernetes.store import Kubernetes
from keyturn.providers.mysql.target import MySQL
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.providers.prefect_api import PrefectApi
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin
from keyturn.settings.prefect import PrefectSettings

HOUR = timedelta(hours=1)
Handler = Callable[[socket.socket], None]


@contextmanager
def serving(handle: Handler) -> Iterator[int]:
    """A TCP server on loopback that treats each connection so; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError), connection:
                        handle(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def over_tls(
    authority: trustme.CA, name: str = "127.0.0.1", client_ca: str = "", answer: bytes = b"", **validity: Any
) -> Handler:
    """A server with a certificate of this authority, which may want one of the client's; it gives this answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    if client_ca:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(4096)
            wrapped.sendall(answer)

    return handle


def alerting(number: int) -> Handler:
    """A TLS server that ends each handshake with this alert (RFC 8446, 6)."""

    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(bytes([21, 3, 3, 0, 2, 2, number]))
        time.sleep(0.05)

    return handle


def saying(answer: bytes) -> Handler:
    """A server that answers in clear, whatever it hears."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return handle


def closing_at_once(connection: socket.socket) -> None:
    connection.recv(4096)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)


@pytest.fixture
def adapters(ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[str], object]]:
    """What asks a server at an address for something, by what errors call that server."""
    (tmp_path / "id").write_text("one-line")
    monkeypatch.setenv("AWS_CA_BUNDLE", ca_file)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secrets.token_hex(8))

    def hub(url: str) -> object:
        login = AppRoleLogin(str(tmp_path / "id"), str(tmp_path / "id"))
        with closing(VaultHub(HubSettings(url, login=login, ca_file=ca_file))) as opened:
            return opened.read("a")

    def prefect(url: str) -> object:
        with PrefectApi(PrefectSettings(f"{url}/api", ca_file=ca_file, timeout=5), "run", "it") as opened:
            return opened.read_run("a")

    def api(url: str) -> object:
        opened = HttpApi("api", url=url, admin=lambda: SecretFields({}), ca_file=ca_file)
        return opened.call(Request("GET", "/keys"), SecretFields({}), "list")

    def aws(url: str) -> object:
        return AwsSecretsManager("aws", region="eu-central-1", endpoint_url=url).describe("a")

    def kubernetes(url: str) -> object:
        store = Kubernetes("k8s", namespace="n", server=url, ca_file=ca_file, token_file=str(tmp_path / "id"))
        with closing(store):
            return store.describe("a")

    return {
        "the hub": hub,
        "the Prefect server": prefect,
        "it": api,
        "AWS": aws,
        "the API server": kubernetes,
    }


EVERY = pytest.mark.parametrize("who", ["the hub", "the Prefect server", "it", "AWS", "the API server"])


def refused(adapters: dict[str, Any], who: str, url: str) -> KeyturnError:
    with pytest.raises(KeyturnError) as caught:
        adapters[who](url)
    return caught.value


@EVERY
def test_a_certificate_of_the_future_is_a_matter_of_the_clock(
    adapters: dict[str, Any], authority: trustme.CA, who: str
) -> None:
    begins = datetime.now(UTC) + HOUR
    with serving(over_tls(authority, not_before=begins)) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert "certificate is not valid yet by this machine's clock" in error.problem
    assert error.hint.startswith("Set this machine's clock")
    assert isinstance(error, Unavailable if who == "the Prefect server" else Unproven)


@EVERY
def test_a_certificate_that_has_expired_is_to_be_renewed(
    adapters: dict[str, Any], authority: trustme.CA, who: str
) -> None:
    now = datetime.now(UTC)
    with serving(over_tls(authority, not_before=now - 2 * HOUR, not_after=now - HOUR)) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert "certificate has expired by this machine's clock" in error.problem
    assert error.hint.startswith("Renew the certificate")


@EVERY
def test_a_certificate_of_another_authority_or_name_is_named_so(
    adapters: dict[str, Any], authority: trustme.CA, who: str
) -> None:
    with serving(over_tls(trustme.CA())) as port:
        assert "certificate is not trusted" in refused(adapters, who, f"https://127.0.0.1:{port}").problem
    with serving(over_tls(authority, "hub.internal")) as port:
        assert "certificate is for another name" in refused(adapters, who, f"https://127.0.0.1:{port}").problem


@EVERY
@pytest.mark.parametrize(("alert", "words"), [(80, "internal error"), (40, "handshake failure"), (112, "unrecognized")])
def test_an_alert_in_the_handshake_is_unavailable_and_no_denial(
    adapters: dict[str, Any], who: str, alert: int, words: str
) -> None:
    with serving(alerting(alert)) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert isinstance(error, Unavailable)
    assert error.problem.startswith(f"{who} does not answer: the TLS handshake failed ({words}")


def test_an_alert_about_the_clients_certificate_is_a_denial_with_its_settings(adapters: dict[str, Any]) -> None:
    with serving(alerting(48)) as port:
        error = refused(adapters, "the hub", f"https://127.0.0.1:{port}")
    assert isinstance(error, Denied)
    assert "refuses the client's certificate, or wants one (unknown ca)" in error.problem
    assert "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY" in error.hint


def test_a_server_that_wants_a_clients_certificate_is_named_with_the_settings(
    adapters: dict[str, Any], authority: trustme.CA, ca_file: str
) -> None:
    with serving(over_tls(authority, client_ca=ca_file)) as port:
        error = refused(adapters, "the hub", f"https://127.0.0.1:{port}")
    assert "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY" in error.hint


@EVERY
def test_a_server_without_tls_is_no_certificate_that_is_not_trusted(adapters: dict[str, Any], who: str) -> None:
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert error.problem == f"{who} speaks no TLS at that port"
    assert error.hint.startswith("Check scheme, host and port in ")


@EVERY
def test_a_connection_that_is_closed_or_refused_is_unavailable(adapters: dict[str, Any], who: str) -> None:
    with serving(closing_at_once) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert isinstance(error, Unavailable)
    assert f"{who} does not answer" in error.problem
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        error = refused(adapters, who, f"https://127.0.0.1:{unheard.getsockname()[1]}")
    assert isinstance(error, Unavailable)
    assert error.problem == f"{who} does not answer: the connection is refused"


@EVERY
def test_a_name_that_can_not_be_resolved_is_said(adapters: dict[str, Any], who: str) -> None:
    error = refused(adapters, who, "https://hub.keyturn.invalid")
    assert isinstance(error, Unavailable)
    assert error.problem == "the name hub.keyturn.invalid can't be resolved"
    assert "this machine's DNS" in error.hint


GO = b"Client sent an HTTP request to an HTTPS server.\n"
NGINX = b"<center>The plain HTTP request was sent to HTTPS port</center>"


@pytest.mark.parametrize("who", ["the hub", "the Prefect server", "it"])
@pytest.mark.parametrize("page", [GO, NGINX])
def test_plain_http_to_a_tls_port_is_neither_a_refused_login_nor_an_absent_secret(
    adapters: dict[str, Any], who: str, page: bytes
) -> None:
    head = f"HTTP/1.0 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n".encode()
    with serving(saying(head + page)) as port:
        error = refused(adapters, who, f"http://127.0.0.1:{port}")
    assert isinstance(error, Invalid)
    assert f"begins with http://, and {who} speaks TLS at that port" in error.problem
    assert error.hint.endswith("with https://")


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "503 Service Unavailable"])
@pytest.mark.parametrize("who", ["the hub", "the API server"])
def test_a_refusal_by_something_in_front_is_no_word_of_the_server(
    adapters: dict[str, Any], authority: trustme.CA, who: str, status: str
) -> None:
    page = b"<html>blocked</html>"
    head = f"HTTP/1.0 {status}\r\nContent-Length: {len(page)}\r\n\r\n".encode()
    with serving(over_tls(authority, answer=head + page)) as port:
        error = refused(adapters, who, f"https://127.0.0.1:{port}")
    assert isinstance(error, Unavailable)


# --- drivers that say it only in a text --------------------------------------------------------------------


DATABASES = pytest.mark.parametrize("kind", [PostgreSQL, MySQL])


def database(kind: Any, host: str, port: int, **trust: Any) -> KeyturnError:
    """Why a database server can't be asked."""
    admin = SecretFields({"username": "u", "password": "p"})
    with (
        closing(kind("db", host=host, port=port, database="d", admin=lambda: admin, **trust)) as target,
        pytest.raises(KeyturnError) as caught,
    ):
        target.lets_in("u")
    return caught.value


@DATABASES
def test_a_databases_name_that_can_not_be_resolved_is_said(kind: Any) -> None:
    error = database(kind, "db.keyturn.invalid", 5432)
    assert isinstance(error, Unavailable)
    assert error.problem == "the server does not answer: its name can't be resolved"


@DATABASES
def test_a_database_that_refuses_the_connection_is_said(kind: Any) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        error = database(kind, "127.0.0.1", unheard.getsockname()[1])
    assert error.problem == "the server does not answer: the connection is refused"


def postgresql_over_tls(authority: trustme.CA, **validity: Any) -> Handler:
    """What a PostgreSQL server answers to the wish for TLS, and the handshake (protocol 3, SSLRequest)."""
    shake = over_tls(authority, **validity)

    def handle(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        shake(connection)

    return handle


def test_a_databases_certificate_of_the_future_names_the_clock(authority: trustme.CA, ca_file: str) -> None:
    with serving(postgresql_over_tls(authority, not_before=datetime.now(UTC) + HOUR)) as port:
        error = database(PostgreSQL, "127.0.0.1", port, sslmode="verify-full", ca_file=ca_file)
    assert isinstance(error, Denied)
    assert "this machine's clock" in error.hint
