"""TLS: which certificates the hub's connections accept, and redirects."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hvac
import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, Unproven
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.store import VaultStore
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, TokenLogin
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.contracts.store import fresh_value, marks_for
from tests.support.mounts import make_kv

ELSEWHERE = "hub.internal"
"""A name that the address of the server is not."""


@dataclass(frozen=True)
class Files:
    """What lies beside the server: the authority, a certificate for 127.0.0.1, one for another name, a client's."""

    ca: str
    here: tuple[str, str]
    elsewhere: tuple[str, str]
    client: tuple[str, str]


def pair(authority: trustme.CA, directory: Path, name: str) -> tuple[str, str]:
    """A certificate and its key in two files."""
    made = authority.issue_cert(name)
    files = directory / f"{name}.pem", directory / f"{name}.key"
    made.cert_chain_pems[0].write_to_path(files[0])
    made.private_key_pem.write_to_path(files[1])
    return str(files[0]), str(files[1])


class OverTls(OpenBao):
    """The real server, with a listener for each way that a certificate may be."""

    def __init__(self, directory: Path, files: Files) -> None:
        super().__init__(directory, free_port(), dev=True)
        self.files = files
        self.here, self.elsewhere, self.asking = free_port(), free_port(), free_port()

    def _dev_config(self) -> dict[str, Any]:
        asking = {"tls_require_and_verify_client_cert": True, "tls_client_ca_file": self.files.ca}
        ways: Any = ((self.here, self.files.here, {}), (self.elsewhere, self.files.elsewhere, {}))
        return {
            **super()._dev_config(),
            "listener": [
                {"tcp": {"address": f"127.0.0.1:{port}", "tls_cert_file": cert, "tls_key_file": key, **more}}
                for port, (cert, key), more in (*ways, (self.asking, self.files.here, asking))
            ],
        }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    here, elsewhere, client = (pair(authority, directory, name) for name in ("127.0.0.1", ELSEWHERE, "worker"))
    return Files(str(directory / "ca.pem"), here, elsewhere, client)


@pytest.fixture(scope="module")
def bao(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverTls]:
    with OverTls(tmp_path_factory.mktemp("bao"), files) as server:
        root = hvac.Client(url=server.address, token=server.root_token)
        make_kv(root, "keyturn")
        root.sys.enable_secrets_engine("transit")
        root.secrets.transit.create_key("ledger", key_type="ed25519")
        root.sys.enable_auth_method("approle")
        root.sys.create_or_update_policy(
            "all", 'path "*" { capabilities = ["create", "read", "update", "patch", "list"] }'
        )
        root.auth.approle.create_or_update_approle("worker", token_policies=["all"], token_ttl="1h")
        (server.directory / "role-id").write_text(root.auth.approle.read_role_id("worker")["data"]["role_id"])
        made = root.auth.approle.generate_secret_id("worker")["data"]["secret_id"]
        (server.directory / "secret-id").write_text(made)
        yield server


def settings(bao: OverTls, port: int, **given: Any) -> HubSettings:
    """The worker's login at one of the listeners."""
    login = AppRoleLogin(*(str(bao.directory / f"{name}-id") for name in ("role", "secret")))
    return HubSettings(f"https://127.0.0.1:{port}", login=login, **given)


def store(bao: OverTls, **given: str) -> VaultStore:
    """The same server as a store of the catalogue."""
    token = str(bao.directory / "root.token")
    return VaultStore("west", address=f"https://127.0.0.1:{bao.here}", token_file=token, **given)


def test_all_that_speaks_to_the_hub_trusts_the_authority_that_is_named(bao: OverTls, files: Files) -> None:
    path = secrets.token_hex(4)
    with closing(VaultHub(settings(bao, bao.here, ca_file=files.ca))) as hub:
        assert hub.write(path, SecretFields({"n": 1}), cas=0) == 1
        hub.patch_metadata(path, {"team": "inside"})
        assert [secret.path for secret in hub.describe_below(path[:-1])] in ([], [path])
        assert hub.describe_many([path])[path].custom["team"] == "inside"
        assert len(hub.signer("ledger").sign(b"message")) == 64
        # A renewal, and a login anew, as after a third of a token's life and after its end.
        session = hub._calls._session
        session._renew_at = 0.0
        assert hub.read(path) is not None
        assert session._renew_at > 0.0
        assert session.login_again()
        assert hub.read(path) is not None
    with closing(store(bao, ca_file=files.ca)) as west:
        value = fresh_value()
        west.write("app", value, marks_for(value), None)
        assert west.read("app") == value


def test_without_the_authority_one_error_names_the_setting(bao: OverTls) -> None:
    with closing(VaultHub(settings(bao, bao.here))) as hub:
        for call in (hub.read, hub.describe, hub.signer, hub.leases):
            with pytest.raises(Denied, match=r"the hub's certificate is not trusted\. Set VAULT_CACERT to its CA file"):
                call("any")
    with closing(store(bao)) as west, pytest.raises(Denied) as caught:
        west.describe("app")
    assert "this Vault's certificate is not trusted. Set ca_file in the catalogue to its CA file" in str(caught.value)


def test_another_authority_is_not_enough(bao: OverTls, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with_other = settings(bao, bao.here, ca_file=str(tmp_path / "other.pem"))
    with closing(VaultHub(with_other)) as hub, pytest.raises(Denied, match="the hub's certificate is not trusted"):
        hub.read("any")


def test_a_certificate_for_another_name_counts_when_that_name_is_given(bao: OverTls, files: Files) -> None:
    by_address = settings(bao, bao.elsewhere, ca_file=files.ca)
    with closing(VaultHub(by_address)) as hub, pytest.raises(Denied, match=r"for another name.*VAULT_TLS_SERVER_NAME"):
        hub.read("any")
    with closing(VaultHub(replace(by_address, tls_server_name=ELSEWHERE))) as hub:
        assert hub.read("any") is None
    wrong = settings(bao, bao.here, ca_file=files.ca, tls_server_name=ELSEWHERE)
    with closing(VaultHub(wrong)) as hub, pytest.raises(Denied, match="for another name"):
        hub.read("any")


def test_a_hub_that_asks_for_a_certificate_is_shown_one(bao: OverTls, files: Files) -> None:
    without = settings(bao, bao.asking, ca_file=files.ca)
    with closing(VaultHub(without)) as hub, pytest.raises(KeyturnError, match="VAULT_CLIENT_CERT"):
        hub.read("any")
    cert, key = files.client
    with closing(VaultHub(replace(without, client_cert_file=cert, client_key_file=key))) as hub:
        assert hub.read("any") is None


def damaged(files: Files, directory: Path) -> dict[str, tuple[dict[str, str], str]]:
    """Settings whose files can't be used, and what is said."""
    (directory / "empty.pem").touch()
    cert, key = files.client
    empty, gone = str(directory / "empty.pem"), str(directory / "gone.pem")
    return {
        "no file": (
            {"ca_file": gone},
            f"VAULT_CACERT (ca_file) names {gone}, where no certificate can be read: No such",
        ),
        "nothing in it": (
            {"ca_file": empty},
            f"VAULT_CACERT (ca_file) names {empty}, where no certificate can be read",
        ),
        "a directory": ({"ca_file": str(directory)}, "where no certificate can be read"),
        "no key": ({"client_cert_file": cert}, "of VAULT_CLIENT_CERT and VAULT_CLIENT_KEY one alone is set"),
        "another's key": (
            {"client_cert_file": cert, "client_key_file": files.here[1]},
            "where no certificate with its own key, unencrypted, can be read",
        ),
        "no such key": ({"client_cert_file": cert, "client_key_file": gone}, "can be read: No such file"),
        "two certificates": ({"client_cert_file": cert, "client_key_file": cert}, "where no certificate with its own"),
        "two keys": ({"client_cert_file": key, "client_key_file": key}, "where no certificate with its own"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "no file",
        "nothing in it",
        "a directory",
        "no key",
        "another's key",
        "no such key",
        "two certificates",
        "two keys",
    ],
)
def test_files_that_can_not_be_used_are_named_with_their_setting(
    bao: OverTls, files: Files, tmp_path: Path, kind: str
) -> None:
    given, message = damaged(files, tmp_path)[kind]
    with closing(VaultHub(settings(bao, bao.here, **given))) as hub, pytest.raises(Invalid) as caught:
        hub.read("any")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("VAULT_SKIP_VERIFY", "true", "VAULT_SKIP_VERIFY is set, and the hub's certificate is always checked"),
        ("VAULT_SKIP_VERIFY", "1", "Unset it, and name the file with the CA of the hub in VAULT_CACERT"),
        ("VAULT_CAPATH", "/etc/ssl/hub", "VAULT_CAPATH is set, which is not read"),
        ("VAULT_CACERT_BYTES", "-----BEGIN", "VAULT_CACERT_BYTES is set, which is not read"),
    ],
)
def test_what_would_be_left_out_silently_is_refused(variable: str, value: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        HubSettings.from_environment({"VAULT_ADDR": "https://hub", variable: value})


# --- nobody is followed elsewhere --------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[HTTPServer]:
    with HTTPServer() as server:
        server.expect_request(re.compile(".*")).respond_with_json({"data": {}})
        yield server


@pytest.fixture
def lying(httpserver: HTTPServer, elsewhere: HTTPServer) -> Callable[[int], str]:
    """A hub that answers every request with the same place at another server."""

    def answering(status: int) -> str:
        def elsewhere_(request: Request) -> Response:
            return Response(status=status, headers={"location": elsewhere.url_for(request.path)})

        httpserver.expect_request(re.compile(".*")).respond_with_handler(elsewhere_)
        return httpserver.url_for("").rstrip("/")

    return answering


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_hub_that_redirects_takes_neither_token_nor_value_along(
    lying: Callable[[int], str], elsewhere: HTTPServer, tmp_path: Path, status: int
) -> None:
    token = tmp_path / "token"
    token.write_text("hvs.a-token")
    address, value = lying(status), fresh_value()
    by_role = HubSettings(address, login=AppRoleLogin(str(token), str(token)))
    with (
        closing(VaultHub(HubSettings(address, login=TokenLogin(file=str(token))))) as hub,
        closing(VaultHub(by_role)) as logging_in,
    ):
        hub._calls._session._client = hub._calls._session.as_token("hvs.a-token")
        for call in (
            lambda: hub.read("a"),
            lambda: hub.write("a", SecretFields({"n": value}), cas=0),
            lambda: hub.patch_metadata("a", {"n": "1"}),
            lambda: hub.revoke_lease("database/creds/a/b"),
            lambda: list(hub.list_state("a")),
            lambda: logging_in.read("a"),
        ):
            with pytest.raises(Unproven, match="the hub answers with a redirect, which is not followed"):
                call()
    with closing(VaultStore("west", address=address, token_file=str(token))) as west, pytest.raises(Denied) as caught:
        west.write("app", value, marks_for(value), None)
    assert "this Vault answers with a redirect" in str(caught.value)
    assert elsewhere.log == []


@pytest.mark.parametrize("body", ["<html>no such page</html>", '{"message":"no Route matched"}', ""])
@pytest.mark.attack
def test_a_proxys_404_is_not_taken_for_a_missing_secret(httpserver: HTTPServer, tmp_path: Path, body: str) -> None:
    token = tmp_path / "token"
    token.write_text("hvs.a-token")
    httpserver.expect_request(re.compile(".*")).respond_with_data(body, 404, content_type="application/json")
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=TokenLogin(file=str(token)))
    with closing(VaultHub(settings)) as hub:
        hub._calls._session._client = hub._calls._session.as_token("hvs.a-token")
        for look in (lambda: hub.read("a"), lambda: hub.describe("a"), lambda: list(hub.describe_below("a"))):
            with pytest.raises(Unavailable, match="is not the hub's own, so it proves nothing about"):
                look()


@pytest.mark.parametrize("version", [0, "7", None])
def test_what_is_no_versions_number_is_no_answer(httpserver: HTTPServer, tmp_path: Path, version: object) -> None:
    token = tmp_path / "token"
    token.write_text("hvs.a-token")
    metadata = {"version": version, "created_time": "2026-03-01T12:00:00Z", "custom_metadata": None}
    httpserver.expect_request("/v1/secret/data/a").respond_with_json({"data": {"data": {}, "metadata": metadata}})
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=TokenLogin(file=str(token)))
    with closing(VaultHub(settings)) as hub:
        hub._calls._session._client = hub._calls._session.as_token("hvs.a-token")
        with pytest.raises(Unavailable, match="not what its API promises"):
            hub.read("a")
