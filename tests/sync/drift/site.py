"""A hub, one real store, and a catalogue that pushes everything in the hub there."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Unavailable
from keyturn.core.plan import Item, Plan
from keyturn.core.ports.stores import RemoteSecret
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync.apply import Applier, Result
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_store, open_workspace
from tests.support.hooks import Replaced, eventually
from tests.support.lab import ANY_UNDECLARED, Lab, fresh
from tests.support.mounts import make_kv
from tests.support.places import single
from tests.support.world import TOKEN_VARIABLE

STORE = "real"


class Look(StrEnum):
    """The ways in which a plan looks at the stores."""

    ALONE = "alone"
    """Of one secret: its copy is asked for by name."""
    LISTED = "listed"
    """Of all secrets: what the listing shows is believed."""
    DEEP = "deep"
    """Of all secrets, and each copy is asked for by name."""


class Watched:
    """A store's adapter, and the names that it was asked for one by one."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[str] = []

    def listing(self, names: set[str]) -> "Watched":
        """The same, where lists tell of these alone."""
        copies, lowered = self._store.list_managed, {name.lower() for name in names}
        return Watched(
            Replaced(self._store, list_managed=lambda: (copy for copy in copies() if copy.name.lower() in lowered))
        )

    def find(self, remote: str) -> RemoteSecret | None:
        """What the adapter finds."""
        self.asked.append(remote)
        found: RemoteSecret | None = self._store.describe(remote)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class RealSite:
    """``settings`` are the store's, ``sync`` the pattern's, which may be changed between two runs.

    The secrets lie in one folder of a mount of its own, so that a plan of all secrets sees no others.
    """

    lab: Lab
    settings: Mapping[str, Any]
    sync: dict[str, Any]
    folder: str = field(default_factory=fresh)

    def __enter__(self) -> Self:
        self.store: Any = Watched(open_store(STORE, self.catalogue.store(STORE)))
        self.mount = f"hub-{self.folder}"
        make_kv(self.lab.root, self.mount)
        self.hub = VaultHub(HubSettings(self.lab.world.hub_address, mount=self.mount, login=TokenLogin(TOKEN_VARIABLE)))
        assert eventually(self.mounted)
        return self

    def mounted(self) -> bool:
        """Whether the new mount answers: for a moment it is being upgraded."""
        try:
            return self.hub.describe(self.folder) is None
        except Unavailable:
            return False

    def __exit__(self, *_: object) -> None:
        self.hub.close()
        self.lab.root.sys.disable_secrets_engine(self.mount)
        self.store.close()

    @property
    def catalogue(self) -> Catalogue:
        """Everything in the folder goes to the store, as fast as it takes it."""
        stores = {STORE: {**self.settings, "writes_per_second": 100_000}}
        syncs = {"all": {"paths": [f"{self.folder}/**"], "stores": [STORE], **self.sync}}
        return Catalogue.model_validate({"stores": stores, "syncs": syncs, "policy": ANY_UNDECLARED})

    @property
    def workspace(self) -> Workspace:
        """One opened anew, over the store that is open."""
        return dataclasses.replace(open_workspace(self.catalogue, self.hub), open_store=lambda _: self.store)

    def write(self, name: str, **fields: Any) -> str:
        """Give the hub a newer version of a secret in the folder; its path."""
        path = f"{self.folder}/{name}"
        info = self.hub.describe(path)
        self.hub.write(path, SecretFields(fields), cas=info.version if info else 0)
        return path

    def forget(self, path: str) -> None:
        """Remove a secret from the hub, with every version."""
        self.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=self.mount)

    def remote(self, path: str) -> str:
        """The name of its copy."""
        return single(self.catalogue.destinations(path))[0].name

    def plan(self, *patterns: str, deep: bool = False) -> Plan:
        """A plan made by a new process."""
        return plan(self.workspace, patterns, deep=deep)

    def item(self, path: str, look: Look = Look.DEEP) -> Item:
        """What a plan says of the copy of one secret."""
        chosen = (path,) if look is Look.ALONE else ()
        return next(item for item in self.plan(*chosen, deep=look is Look.DEEP).items if item.path == path)

    def run(self, *patterns: str, deep: bool = False) -> list[Result]:
        """Plan and apply, as `keyturn apply --auto` does."""
        workspace = self.workspace
        return carry_out(
            workspace, plan(workspace, patterns, deep=deep, unseen=True), local_executor(Applier(workspace))
        )
