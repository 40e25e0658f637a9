"""A hub of its own that can be lost: everything in it goes, while the database and the stores stay."""

import dataclasses
import json
import os
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.core.fingerprint_keys import FIRST_KEY, FingerprintKeys
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.cuts import revoked_secrets
from keyturn.recovery.rehydrate import Plan, Rehydrated, rehydrate
from keyturn.recovery.rehydrate_keys import Entries, keys_from
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.ledger import configured_ledger
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.lab import LOOSE, Declared, Lab, catalogue_data
from tests.support.memory_store import MemoryStore

SETTINGS = {"kind": "aws-secrets-manager", "region": "eu-central-1", "writes_per_second": 100_000}
MOUNTS = ("secret", "keyturn")


@dataclass
class Site:
    """Secrets whose copies lie in stores in memory, and their hub, which may be lost."""

    lab: Lab
    stores: dict[str, MemoryStore]
    catalogue: dict[str, Any]

    @property
    def workspace(self) -> Workspace:
        """One opened anew, as a new process would."""
        still = Clock()
        return dataclasses.replace(
            open_workspace(Catalogue.model_validate(self.catalogue), self.lab.hub),
            open_store=lambda name: self.stores[name],
            clock=still,
            hub_clock=still,
            limits=LOOSE,
        )

    def turn(self, path: str, times: int = 1) -> None:
        """So many rotations by force, each of which settles."""
        for _ in range(times):
            rotate(self.workspace, path, Trigger.FORCE)
            retire(self.workspace, path, Waive.EVERYTHING)

    def current(self, path: str) -> dict[str, Any] | None:
        """What the hub gives."""
        found = self.lab.hub.read(path)
        return found.fields.reveal() if found else None

    def lose_hub(self, *, keep_key: bool = False) -> Entries:
        """Take everything that the hub holds away, but a target's own admin; the key of the fingerprints before."""
        kept = self.lab.hub.read_state("targets/pg")
        key = self.lab.hub.read_state(FIRST_KEY)
        assert kept is not None
        assert key is not None
        for mount in MOUNTS:
            self.lab.root.sys.disable_secrets_engine(mount)
            self.lab.root.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
        self.lab.hub.close()
        self.lab.hub = self.lab.world.hub()
        self._wait_for_mounts()
        self.lab.hub.write_state("targets/pg", kept.data, cas=0)
        if keep_key:
            self.lab.hub.claim_state(FIRST_KEY, key.data)
        return json.loads(json.dumps({FIRST_KEY: key.data}))  # type: ignore[no-any-return]

    def _wait_for_mounts(self) -> None:
        """A mount that is new turns into version 2 behind its answer."""
        from tests.support.hooks import eventually

        def ready() -> bool:
            try:
                self.lab.hub.write("ready", SecretFields({"is": "it"}), cas=0)
                self.lab.hub.write_state("ready", {"is": "it"}, cas=0)
            except Exception:  # noqa: BLE001  it says so in several ways
                return False
            return True

        assert eventually(ready, 30)
        self.lab.root.secrets.kv.v2.delete_metadata_and_all_versions("ready")
        self.lab.hub.delete_state("ready")

    def rehydrate(self, entries: Entries | None, **options: Any) -> Plan:
        """One run, with these keys or none."""
        keys: FingerprintKeys | None = keys_from(entries) if entries else None
        with closing(configured_ledger(os.environ)) as ledger:
            revoked = revoked_secrets(ledger)
        return rehydrate(self.workspace, keys, options.pop("revoked", revoked), **options)


def of(plan: Plan, path: str) -> Rehydrated:
    """What became of one secret."""
    return next(secret for secret in plan.secrets if secret.path == path)


def site_over(lab: Lab, *declared: Declared, stores: tuple[str, ...] = ("one", "two"), **catalogue: Any) -> Site:
    """A site with these secrets, each of which has a whole copy in each store unless it says otherwise."""
    data = catalogue_data(lab.world, declared, SETTINGS, {})
    data["stores"] = {name: {**SETTINGS, "profile": name} for name in stores}
    for one in declared:
        everywhere = [{"store": name, "name": one.path.replace("/", "-")} for name in stores]
        data["secrets"][one.path].setdefault("destinations", everywhere)
    return Site(lab, {name: MemoryStore(name) for name in stores}, {**data, **catalogue})
