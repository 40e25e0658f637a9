"""A hub of its own that can be lost: everything in it goes, while the database and the stores stay."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployments.local.openbao import OpenBao
from deployments.local.postgres import PostgreSQL
from deployments.local.prepare import Hub, prepare
from deployments.local.support.ports import free_port
from keyturn.catalogue import Catalogue
from keyturn.core.fingerprint_keys import FIRST_KEY, FingerprintKeys
from keyturn.core.policy import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.cuts import revoked_secrets
from keyturn.providers.ledger.opening import configured_ledger
from keyturn.providers.registry import open_workspace
from keyturn.recovery.rehydrate import Plan, Rehydrated, rehydrate
from keyturn.recovery.rehydrate_keys import Entries, keys_from
from keyturn.rotation.context import Workspace
from keyturn.rotation.retire import Waive, retire
from keyturn.rotation.run import rotate
from tests.support.clock import Clock
from tests.support.lab import LOOSE, Declared, Lab, catalogue_data
from tests.support.memory_store import MemoryStore
from tests.support.world import TOKEN_VARIABLE, World

SETTINGS = {"kind": "aws-secrets-manager", "region": "eu-central-1", "writes_per_second": 100_000}
MOUNTS = ("secret", "keyturn")


@contextmanager
def own_lab(directory: Path) -> Iterator[Lab]:
    """A hub in memory and a database, which nobody else uses."""
    hub = OpenBao(directory / "hub", free_port(), dev=True)
    postgres = PostgreSQL(directory / "postgres", free_port(), durable=False)
    with hub, postgres, pytest.MonkeyPatch.context() as environment:
        prepared = Hub(hub.address, hub.root_token)
        prepare(prepared, postgres.host, postgres.port, postgres.superuser_password, ())
        prepared.first("targets/pg", prepared.first("targets/ml-postgres", {}, "keyturn"), "keyturn")
        environment.setenv(TOKEN_VARIABLE, hub.root_token)
        environment.setenv("KEYTURN_LEDGER", str(directory / "ledger.db"))
        log, password = str(postgres.process.log), postgres.superuser_password
        world = World(hub.address, hub.root_token, postgres.host, postgres.port, password, log)
        with Lab(world) as made:
            yield made


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
