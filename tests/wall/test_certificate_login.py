"""Certificate login: only the role's own certificate, with its key, is accepted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hvac
import pytest
import trustme

from keyturn.core.errors import Denied
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import CertLogin
from local.openbao import OpenBao
from local.support.ports import free_port


class OverTls(OpenBao):
    """The real server, which asks each client for a certificate and needs none."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, free_port(), dev=True)
        self.tls_port, self._authority, self._clients = free_port(), trustme.CA(), trustme.CA()
        self._authority.cert_pem.write_to_path(directory / "ca.pem")
        self._authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        self.foreign = trustme.CA()

    def _dev_config(self) -> dict[str, Any]:
        file = str(self.directory / "server.pem")
        listener = {"address": f"127.0.0.1:{self.tls_port}", "tls_cert_file": file, "tls_key_file": file}
        return {**super()._dev_config(), "listener": [{"tcp": listener}]}

    def prepare(self) -> hvac.Client:
        """Let workers in, by their certificates of the clients' authority."""
        root = hvac.Client(url=self.address, token=self.root_token)
        root.sys.enable_auth_method("cert")
        role = {"certificate": self._clients.cert_pem.bytes().decode(), "allowed_common_names": "worker"}
        root.write_data("auth/cert/certs/worker", data={**role, "token_ttl": "1h"})
        root.sys.create_or_update_policy("default", 'path "*" { capabilities = ["read", "update", "list"] }')
        return root

    def certify(self, file: Path, name: str = "worker", authority: trustme.CA | None = None) -> None:
        """Put a certificate for this name, and its key, into the file."""
        made = (authority or self._clients).issue_cert(f"{name}.internal", common_name=name)
        made.private_key_and_cert_chain_pem.write_to_path(file)

    def hub(self, file: Path | None, login: CertLogin, port: int | None = None) -> VaultHub:
        """Opened with the certificate in the file."""
        shown: dict[str, Any] = dict.fromkeys(("client_cert_file", "client_key_file"), str(file)) if file else {}
        address = f"https://127.0.0.1:{port or self.tls_port}"
        return VaultHub(HubSettings(address, login=login, ca_file=str(self.directory / "ca.pem"), **shown))


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverTls]:
    with OverTls(tmp_path_factory.mktemp("bao")) as server:
        server.prepare()
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "client.pem"


@pytest.mark.parametrize("role", ["worker", None])
def test_the_certificate_of_the_role_logs_in(bao: OverTls, file: Path, role: str | None) -> None:
    bao.certify(file)
    with closing(bao.hub(file, CertLogin(role))) as hub:
        assert hub.read("any") is None
        assert hub.identity().path == "auth/cert/login"
        assert hub.identity().display_name == "cert-worker"


def test_a_certificate_that_was_renewed_is_shown_at_the_next_login(bao: OverTls, file: Path) -> None:
    bao.certify(file)
    with closing(bao.hub(file, CertLogin("worker"))) as hub:
        assert hub.read("any") is None
        first = hub.identity()
        bao.certify(file, "somebody")
        root = hvac.Client(url=bao.address, token=bao.root_token)
        root.auth.token.revoke_accessor(first.accessor)
        with pytest.raises(Denied, match="refuses the client certificate"):
            hub.read("any")
        bao.certify(file)
        assert hub.read("any") is None
        assert hub.identity().accessor != first.accessor


@pytest.mark.parametrize("role", ["worker", None])
def test_a_foreign_certificate_is_refused(bao: OverTls, file: Path, role: str | None) -> None:
    bao.certify(file, authority=bao.foreign)
    with closing(bao.hub(file, CertLogin(role))) as hub, pytest.raises(Denied, match=r"refuses the client.*_CERT"):
        hub.read("any")


def test_another_name_of_the_same_authority_is_refused(bao: OverTls, file: Path) -> None:
    bao.certify(file, "somebody")
    with (
        closing(bao.hub(file, CertLogin("worker"))) as hub,
        pytest.raises(Denied, match="the role worker at auth/cert"),
    ):
        hub.read("any")


def test_a_role_that_is_not_there_is_refused(bao: OverTls, file: Path) -> None:
    bao.certify(file)
    with closing(bao.hub(file, CertLogin("nobody"))) as hub, pytest.raises(Denied, match="KEYTURN_HUB_AUTH_ROLE"):
        hub.read("any")


def test_no_certificate_at_all_is_refused(bao: OverTls) -> None:
    with closing(bao.hub(None, CertLogin("worker"))) as hub, pytest.raises(Denied, match="VAULT_CLIENT_CERT"):
        hub.read("any")
