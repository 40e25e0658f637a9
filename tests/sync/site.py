"""A hub, some stores in memory, and a catalogue that pushes one folder of the hub to them by a pattern."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action, Item, Plan
from keyturn.core.ports.stores import Store
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.lab import ANY_UNDECLARED, Lab, fresh
from tests.support.memory_store import MemoryStore

SETTINGS = {"kind": "aws-secrets-manager", "region": "eu-central-1", "writes_per_second": 100_000}


@dataclass
class Site:
    """``settings`` are the stores', ``syncs`` the catalogue's patterns; all may be changed between two runs."""

    lab: Lab
    stores: dict[str, MemoryStore] = field(
        default_factory=lambda: {"one": MemoryStore("one"), "two": MemoryStore("two")}
    )
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    syncs: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder: str = field(default_factory=lambda: fresh().replace("/", "-"))
    clock: Clock = field(default_factory=Clock)
    unseen: bool = True

    def __post_init__(self) -> None:
        """Everything in the folder goes to every store."""
        self.syncs = self.syncs or {"all": {"paths": [f"{self.folder}/*"], "stores": list(self.stores)}}

    @property
    def workspace(self) -> Workspace:
        """One opened anew, as a new process would."""
        regions = {name: {**SETTINGS, "profile": name, **self.settings.get(name, {})} for name in self.stores}
        declared = {"stores": regions, "syncs": self.syncs, "rules": self.rules, "secrets": self.secrets}
        catalogue = Catalogue.model_validate(declared | {"policy": ANY_UNDECLARED})
        made = open_workspace(catalogue, self.lab.hub)
        return dataclasses.replace(made, open_store=self.open_store, clock=self.clock)

    def open_store(self, name: str) -> Store:
        """The store of that name."""
        return self.stores[name]

    def path(self, name: str) -> str:
        """A path in the folder."""
        return f"{self.folder}/{name}"

    def write(self, name: str, **fields: Any) -> str:
        """Give the hub a newer version of a secret in the folder; its path."""
        path = self.path(name)
        info = self.lab.hub.describe(path)
        self.lab.hub.write(path, SecretFields(fields), cas=info.version if info else 0)
        return path

    def plan(self, *patterns: str, deep: bool = False) -> Plan:
        """A plan made by a new process."""
        return plan(self.workspace, patterns, deep=deep)

    def actions(self, *patterns: str, deep: bool = False) -> dict[str, Action]:
        """What a plan says of each copy."""
        return {item.label: item.action for item in self.plan(*patterns, deep=deep).items}

    def item(self, label: str) -> Item:
        """What a plan says of one copy."""
        return next(item for item in self.plan().items if item.label == label)

    def run(self, *patterns: str, deep: bool = False) -> list[Result]:
        """Plan and apply, as `keyturn apply --auto` does."""
        workspace = self.workspace
        return carry_out(
            workspace, plan(workspace, patterns, deep=deep, unseen=self.unseen), local_executor(Applier(workspace))
        )

    def served(self, store: str) -> dict[str, str]:
        """What a store serves, by name."""
        return {copy.name: self.stores[store].read(copy.name).reveal() for copy in self.stores[store].list_all()}
