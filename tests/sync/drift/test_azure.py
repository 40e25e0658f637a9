"""Drift in Azure Key Vault: new versions, tags, soft deletion, disabled versions, and names that fold case."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient

from keyturn.core.plan import Action
from keyturn.core.ports.stores import TAG_FINGERPRINT
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.marks import created
from keyturn.providers.azure.versions import DISABLED
from keyturn.rotation.copies.push import CopyState
from local.emulators.azure_key_vault import Emulator, Server
from tests.providers.azure.test_store import CLIENT_SECRET, DIRECTORY, TENANT, Clock, credential_for
from tests.sync.drift.site import RealSite
from tests.sync.drift.suite import CHANGED, ERASED, OURS, STRIPPED, TAKEN, Act, FoldingContract, many

pytestmark = pytest.mark.sampled(10, of="file")


@dataclass
class Portal:
    """Somebody in the portal. What they do to a version, they do some seconds after it was made."""

    client: SecretClient
    clock: Clock

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A new version, which gets no tags."""
        self.client.set_secret(name, json.dumps(fields))

    def strip(self, name: str) -> None:
        """Remove every tag from the version that is served."""
        self.clock.ahead += 2
        self.client.update_secret_properties(name, tags={})

    def strip_fingerprint(self, name: str) -> None:
        """Remove one tag."""
        self.clock.ahead += 2
        tags = self.client.get_secret(name).properties.tags or {}
        self.client.update_secret_properties(name, tags={tag: tags[tag] for tag in tags if tag != TAG_FINGERPRINT})

    def disable(self, name: str) -> None:
        """Disable the version that is served."""
        self.clock.ahead += 2
        self.client.update_secret_properties(name, enabled=False)

    def strip_and_disable(self, name: str) -> None:
        """Both."""
        self.strip(name)
        self.disable(name)

    def soft_delete(self, name: str) -> None:
        """Delete it as the portal does."""
        self.client.begin_delete_secret(name).wait()

    def delete_and_recover(self, name: str) -> None:
        """Delete it, and think better of it."""
        self.soft_delete(name)
        self.client.begin_recover_deleted_secret(name).wait()

    def disable_and_enable(self, name: str) -> None:
        """Disable the version that is served, and enable it again."""
        self.disable(name)
        self.client.update_secret_properties(name, enabled=True)

    def roll_back(self, name: str) -> None:
        """Set the oldest version again that can be read, with its tags, as a tool does that keeps whole secrets."""
        versions = sorted(self.client.list_properties_of_secret_versions(name), key=created)
        oldest = self.client.get_secret(name, next(one.version for one in versions if one.enabled))
        self.client.set_secret(name, oldest.value or "", tags=oldest.properties.tags)

    def erase(self, name: str) -> None:
        """Delete and purge."""
        self.soft_delete(name)
        self.client.purge_deleted_secret(name)

    def served(self, name: str) -> Any:
        """What an application gets; None where it is disabled, deleted or absent."""
        try:
            return json.loads(self.client.get_secret(name).value or "")
        except ResourceNotFoundError:
            return None
        except HttpResponseError as error:
            if azure.service_code(error) != DISABLED:
                raise
            return None


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def vault(pki: Path, tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Server]:
    emulator = Emulator(tmp_path_factory.mktemp("vault"), DIRECTORY, clock=clock)
    with Server(emulator, pki / "cert.pem", pki / "key.pem") as server:
        yield server


class TestAzureKeyVault(FoldingContract):
    acts = (
        CHANGED,
        STRIPPED,
        TAKEN,
        ERASED,
        Act("fingerprint-removed", Portal.strip_fingerprint, Action.UPDATE),
        Act("disabled", Portal.disable),
        Act("stripped-and-disabled", Portal.strip_and_disable, Action.CONFLICT),
        Act("soft-deleted", Portal.soft_delete),
    )
    restores = (Portal.delete_and_recover, Portal.disable_and_enable, Portal.roll_back)
    sync: ClassVar = {"separator": "-"}

    @pytest.fixture
    def settings(self, vault: Server, pki: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        for name, value in (("TENANT_ID", TENANT), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
            monkeypatch.setenv(f"AZURE_{name}", value)
        ca_file = str(pki / "ca.pem")
        return {"kind": "azure-key-vault", "vault_url": vault.url, "authority": vault.url, "ca_file": ca_file}

    @pytest.fixture
    def hands(self, vault: Server, pki: Path, clock: Clock) -> Iterator[Portal]:
        trust: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": str(pki / "ca.pem")}
        with (
            credential_for(pki, vault.url, "keyturn") as credential,
            SecretClient(vault.url, credential, **trust) as client,
        ):
            yield Portal(client, clock)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("drift", ["repair", "report"])
    def test_many_that_are_soft_deleted_are_absent_in_listings_and_recovered_unless_only_reported(
        self, site: RealSite, hands: Portal, drift: str
    ) -> None:
        site.sync["drift"] = drift
        paths, everything = many(site), f"{site.folder}/**"
        site.run()
        for path in paths:
            hands.soft_delete(site.remote(path))
        site.store.asked.clear()
        assert {item.path: item.action for item in site.plan(everything).items} == dict.fromkeys(paths, Action.CREATE)
        assert not site.store.asked
        states = {one.state for one in site.run(everything)}
        assert states == {CopyState.UPDATED if drift == "repair" else CopyState.DRIFTED}
        assert all(hands.served(site.remote(path)) == (OURS if drift == "repair" else None) for path in paths)
