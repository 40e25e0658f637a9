"""The rendered Azure roles allow a store's whole work, and nothing more."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.keyvault.secrets import SecretClient

from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.core.rights.rights import CopyRights
from local.emulators.azure_key_vault import Application, Directory, Emulator, Server, auth
from tests.deployments.emulators.test_azure_key_vault import TENANT
from tests.providers.azure.test_store import CLIENT_SECRET, credential_for
from tests.support.lab import Lab
from tests.wall.rendered import Rendered

pytestmark = pytest.mark.sampled(37, of="files")

WORKER: Final = "rendered for a worker"
FORBIDDEN: Final = 403


class InAzure(Rendered):
    """A vault with secrets of others; the store signs in as the application ``worker``."""

    def __init__(self, lab: Lab, server: Server, pki: Path) -> None:
        address = {"vault_url": server.url, "authority": server.url, "ca_file": str(pki / "ca.pem")}
        super().__init__(lab, {"kind": "azure-key-vault", **address})

    def grant(self, revoking: bool) -> None:
        """The worker's application has the rendered roles, assigned as the documents say."""
        auth.assign(WORKER, {name: text for name, text in self.documents.items() if revoking or "-revoker" not in name})


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InAzure, Any]]:
    pki, authority = tmp_path_factory.mktemp("azure"), trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(pki / "ca.pem")
    issued.private_key_pem.write_to_path(pki / "key.pem")
    issued.cert_chain_pems[0].write_to_path(pki / "cert.pem")
    people = (Application("admin", CLIENT_SECRET), Application("worker", CLIENT_SECRET, WORKER))
    emulator = Emulator(pki / "vault", Directory(TENANT, people))
    trust: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": str(pki / "ca.pem")}
    with (
        pytest.MonkeyPatch.context() as patch,
        Server(emulator, pki / "cert.pem", pki / "key.pem") as server,
        credential_for(pki, server.url, "admin") as admin,
        credential_for(pki, server.url, "worker") as worker,
        SecretClient(server.url, admin, **trust) as theirs,
        SecretClient(server.url, worker, **trust) as client,
    ):
        patch.setitem(auth.ROLES, WORKER, ())
        patch.setitem(auth.ON_SECRETS, WORKER, {})
        for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", "worker"), ("CLIENT_SECRET", CLIENT_SECRET)):
            patch.setenv(f"AZURE_{name}", value)
        site = InAzure(lab, server, pki)
        for name in (site.foreign, "theirs"):
            theirs.set_secret(name, "theirs")
        yield site, client


def test_with_the_rendered_roles_the_whole_job_is_done_and_an_incident_is_proven(served: tuple[InAzure, Any]) -> None:
    site, _ = served
    site.work()
    site.revoke()


Call = Callable[[Any, str], Any]


def request(method: str, path: str) -> Call:
    """A call that the SDK has no method for, or one with more next to it."""
    return lambda vault, own: vault.send_request(HttpRequest(method, path.format(own=own))).raise_for_status()


ATTACKS: Final[dict[str, Call]] = {
    "read another's": lambda vault, own: vault.get_secret("theirs"),
    "write another's": lambda vault, own: vault.set_secret("theirs", "mine"),
    "make one of another name": lambda vault, own: vault.set_secret("unheard", "mine"),
    "tag another's": lambda vault, own: vault.update_secret_properties("theirs", tags={"a": "b"}),
    "delete another's": lambda vault, own: vault.begin_delete_secret("theirs"),
    "delete its own": lambda vault, own: vault.begin_delete_secret(own),
    "purge its own": request("DELETE", "/deletedsecrets/{own}"),
    "recover another's": request("POST", "/deletedsecrets/theirs/recover"),
    "take a copy of its own away": request("POST", "/secrets/{own}/backup"),
    "restore one": request("POST", "/secrets/restore"),
    "list keys": request("GET", "/keys"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_call_outside_the_rendered_roles_is_refused(served: tuple[InAzure, Any], attack: Call) -> None:
    site, client = served
    site.grant(revoking=False)
    with pytest.raises(HttpResponseError) as refused:
        attack(client, site.remote)
    assert refused.value.status_code == FORBIDDEN


@pytest.mark.parametrize("attack", ["read another's", "delete another's", "recover another's", "restore one"])
def test_the_revoker_can_not_change_other_owners_secrets(served: tuple[InAzure, Any], attack: str) -> None:
    site, client = served
    site.grant(revoking=True)
    with pytest.raises(HttpResponseError) as refused:
        ATTACKS[attack](client, site.remote)
    assert refused.value.status_code == FORBIDDEN


def test_names_known_only_from_the_hub_need_rights_on_the_whole_vault() -> None:
    settings = AzureKeyVaultSettings(kind="azure-key-vault", vault_url="https://plant.vault.azure.net")
    made = settings.rights(CopyRights("store-azure", "made by a test", ("a", "team-*"), deletes=True, departed=True))
    documents = {document.name: json.loads(document.text) for document in made}
    scopes = {assignment["scope"] for assignment in documents["store-azure-assignments.json"]["assignments"]}
    assert {scope.rpartition("Microsoft.KeyVault/")[2] for scope in scopes} == {"vaults/plant"}
    assert any(action.endswith("secrets/delete") for action in documents["store-azure-vault.json"]["DataActions"])
    assert list(settings.rights(CopyRights("store-azure", "made by a test", ()))) == []
