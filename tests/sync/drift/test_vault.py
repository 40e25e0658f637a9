"""Drift in a second Vault: other versions, custom metadata, and versions that are deleted or destroyed."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import InvalidPath

from keyturn.core.plan import Action
from keyturn.core.ports.stores import TAG_FINGERPRINT
from local.openbao import OpenBao
from tests.providers.vault.test_store import POLICIES, STORE
from tests.support.mounts import make_kv
from tests.sync.drift.site import RealSite
from tests.sync.drift.suite import CHANGED, ERASED, OURS, STRIPPED, TAKEN, Act, DriftContract, many

pytestmark = pytest.mark.sampled(9, of="file")


@dataclass
class VaultCli:
    """Somebody with the command line of the other Vault."""

    client: Any
    mount: str

    @property
    def kv(self) -> Any:
        """The engine."""
        return self.client.secrets.kv.v2

    def put(self, name: str, fields: dict[str, str]) -> None:
        """A new version; custom metadata stays."""
        self.kv.create_or_update_secret(name, fields, mount_point=self.mount)

    def strip(self, name: str) -> None:
        """Replace the custom metadata."""
        self.kv.update_metadata(name, custom_metadata={"team": "payments"}, mount_point=self.mount)

    def strip_fingerprint(self, name: str) -> None:
        """Leave one key of it out."""
        held = self.kv.read_secret_metadata(name, mount_point=self.mount)["data"]["custom_metadata"]
        custom = {key: text for key, text in held.items() if key != TAG_FINGERPRINT}
        self.kv.update_metadata(name, custom_metadata=custom, mount_point=self.mount)

    def delete(self, name: str) -> None:
        """Delete the newest version, so that it can be undeleted."""
        self.kv.delete_latest_version_of_secret(name, mount_point=self.mount)

    def strip_and_delete(self, name: str) -> None:
        """Both."""
        self.strip(name)
        self.delete(name)

    def delete_and_undelete(self, name: str) -> None:
        """Delete the newest version, and think better of it."""
        version = self.kv.read_secret_metadata(name, mount_point=self.mount)["data"]["current_version"]
        self.delete(name)
        self.kv.undelete_secret_versions(name, [version], mount_point=self.mount)

    def roll_back(self, name: str) -> None:
        """Write the oldest version again that can be read, as `vault kv rollback` does."""
        told = self.kv.read_secret_metadata(name, mount_point=self.mount)["data"]["versions"]
        oldest = next(number for number, one in told.items() if not (one["deletion_time"] or one["destroyed"]))
        read = self.kv.read_secret_version(name, oldest, mount_point=self.mount, raise_on_deleted_version=True)
        self.put(name, read["data"]["data"])

    def destroy(self, name: str) -> None:
        """Destroy the newest version."""
        version = self.kv.read_secret_metadata(name, mount_point=self.mount)["data"]["current_version"]
        self.kv.destroy_secret_versions(name, [version], mount_point=self.mount)

    def erase(self, name: str) -> None:
        """Delete every version and the metadata."""
        self.kv.delete_metadata_and_all_versions(name, mount_point=self.mount)

    def served(self, name: str) -> Any:
        """What an application reads; None where the newest version is deleted, or there is none."""
        try:
            told = self.kv.read_secret_version(name, mount_point=self.mount, raise_on_deleted_version=True)
        except InvalidPath:
            return None
        return told["data"]["data"]


class TestVaultStore(DriftContract):
    acts = (
        CHANGED,
        STRIPPED,
        TAKEN,
        ERASED,
        Act("fingerprint-removed", VaultCli.strip_fingerprint, Action.UPDATE),
        Act("newest-version-deleted", VaultCli.delete),
        Act("stripped-and-newest-version-deleted", VaultCli.strip_and_delete, Action.CONFLICT),
        Act("newest-version-destroyed", VaultCli.destroy),
    )
    restores = (VaultCli.delete_and_undelete, VaultCli.roll_back)

    @pytest.fixture
    def hands(self, openbao: OpenBao) -> Iterator[VaultCli]:
        client, mount = hvac.Client(url=openbao.address, token=openbao.root_token), f"kv-{secrets.token_hex(4)}"
        make_kv(client, mount)
        yield VaultCli(client, mount)
        client.sys.disable_secrets_engine(mount)

    @pytest.fixture
    def settings(self, openbao: OpenBao, hands: VaultCli, tmp_path: Path) -> dict[str, Any]:
        """Signed in with the rights of the policy that is shipped, and no others."""
        hands.client.sys.create_or_update_policy(
            hands.mount, (POLICIES / f"{STORE}.hcl").read_text().replace("secret/", f"{hands.mount}/")
        )
        token_file = tmp_path / "token"
        token_file.write_text(hands.client.auth.token.create(policies=[hands.mount])["auth"]["client_token"])
        login = {"token_file": str(token_file), "mount": hands.mount}
        return {"kind": "vault", "address": openbao.address, **login}

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("drift", ["repair", "report"])
    def test_many_whose_newest_version_is_deleted_are_absent_in_listings_and_written_unless_only_reported(
        self, site: RealSite, hands: VaultCli, drift: str
    ) -> None:
        site.sync["drift"] = drift
        paths, everything = many(site), f"{site.folder}/**"
        site.run()
        for path in paths:
            hands.delete(site.remote(path))
        assert {item.path: item.action for item in site.plan(everything).items} == dict.fromkeys(paths, Action.CREATE)
        assert all(not one.error for one in site.run(everything))
        assert all(hands.served(site.remote(path)) == (OURS if drift == "repair" else None) for path in paths)
