"""What Keyturn remembers of each store between runs: failing copies, and since when copies are to be deleted.

It only decides when a deletion is due: sync is checked against the stores themselves.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from keyturn.catalogue.models import DEFAULT_ID
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state

KEPT: Final = 500
"""Maximum failing copies of a store that are kept by name; the rest are counted."""


SYNC: Final = "sync"


@dataclass(frozen=True)
class Failing:
    """A copy that is not in sync: the class and text of its error, and since when."""

    path: str
    kind: str
    error: str
    since: str


@dataclass
class StoreStatus:
    """One store after the last runs."""

    checked_at: str = ""
    in_step: int = 0
    failing: dict[str, Failing] = field(default_factory=dict)
    uncounted: int = 0
    tombstones: dict[str, str] = field(default_factory=dict)
    secrets: str = ""
    """Marks of the secrets with a copy there, as one text: the hub allows at most 1,000 strings in a request."""

    def may_have(self, path: str) -> bool:
        """Whether a secret may have a copy there; without marks, any may."""
        copies = self.in_step + len(self.failing) + self.uncounted
        return mark_of(path) in self.secrets.split() if self.secrets else copies > 0

    def to_data(self) -> dict[str, Any]:
        """As the hub keeps it."""
        failing = {name: vars(failure) for name, failure in self.failing.items()}
        return {**vars(self), "failing": failing}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "StoreStatus":
        """From the hub's form."""
        failing = {name: Failing(**failure) for name, failure in data["failing"].items()}
        return StoreStatus(**{**data, "failing": failing})


def mark_of(path: str) -> str:
    """A short mark for a secret's path."""
    return hashlib.sha256(path.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class LeftStore:
    """A store that left the catalogue while it had copies."""

    name: str
    status: StoreStatus
    kept_at: str

    @property
    def copies(self) -> int:
        """How many copies it had."""
        return self.status.in_step + len(self.status.failing) + self.status.uncounted

    @property
    def told(self) -> str:
        """The warning for people."""
        return (
            f"the store {self.name} has left the catalogue, and {self.copies} copies were in it: they are "
            f"neither synced nor deleted. Declare it again, or remove them there, and then {self.kept_at} from "
            "the hub"
        )


def state_path(workspace: Workspace, store: str) -> str:
    """Its path in Keyturn's mount, separate for each catalogue id."""
    whose = workspace.catalogue.id
    # A store's name may contain its group; a slash here would make that a catalogue.
    store = store.replace("/", ".")
    return f"{SYNC}/{store}" if whose == DEFAULT_ID else f"{SYNC}/{whose}/{store}"


def left_stores(workspace: Workspace) -> list[LeftStore]:
    """The stores that left the catalogue with copies in them."""
    beginning = state_path(workspace, "")
    stored = [path.removeprefix(beginning) for path in workspace.hub.list_state(beginning.rstrip("/"))]
    names = {name.replace(".", "/") for name in stored if "/" not in name}
    # A store that became a group has its copies in the group's stores.
    gone = sorted(names - workspace.catalogue.stores.keys() - workspace.catalogue.groups.keys())
    counted = ((name, load_store_status(workspace, name)[0]) for name in gone)
    mount = workspace.hub.state_mount
    return [
        left
        for name, status in counted
        if (left := LeftStore(name, status, f"{mount}/{state_path(workspace, name)}")).copies or status.secrets
    ]


def load_store_status(workspace: Workspace, store: str) -> tuple[StoreStatus, int]:
    """The store's status, and the version to write the next one over."""
    state = workspace.hub.read_state(state_path(workspace, store))
    return (StoreStatus.from_data(state.data), state.version) if state else (StoreStatus(), 0)


def tombstones(workspace: Workspace, store: str) -> dict[str, datetime]:
    """Since when each copy is known to be unwanted."""
    return {name: datetime.fromisoformat(at) for name, at in load_store_status(workspace, store)[0].tombstones.items()}


def record_change(workspace: Workspace, store: str, change: "StatusChange") -> None:
    """Save a run's result for one store. Raises Contended when others keep writing it."""

    def applied(before: StoreStatus) -> StoreStatus:
        after = replace(before)
        change.apply(after, workspace.clock().isoformat(timespec="seconds"))
        return after

    update_state(
        workspace,
        state_path(workspace, store),
        lambda: load_store_status(workspace, store),
        applied,
        StoreStatus.to_data,
    )


@dataclass(frozen=True)
class StatusChange:
    """One run's result for a store: names in sync, failing, and to be deleted.

    ``secrets`` are the paths with a copy that stays. A ``whole`` run has seen all copies: others are forgotten.
    """

    in_step: frozenset[str]
    failing: Mapping[str, Failing]
    doomed: frozenset[str]
    whole: bool
    secrets: frozenset[str] = frozenset()

    def apply(self, standing: StoreStatus, now: str) -> None:
        """Apply the change; a copy that still fails keeps its start time."""
        before = standing.failing
        failures = {} if self.whole else {name: failure for name, failure in before.items() if name not in self.in_step}
        for name, failure in self.failing.items():
            failures[name] = Failing(
                failure.path, failure.kind, failure.error, before[name].since if name in before else now
            )
        standing.failing = dict(sorted(failures.items())[:KEPT])
        standing.uncounted = max(0, len(failures) - KEPT)
        standing.checked_at = now
        standing.in_step = len(self.in_step) if self.whole else standing.in_step
        marks = {mark_of(path) for path in self.secrets}
        standing.secrets = " ".join(sorted(marks if self.whole else {*marks, *standing.secrets.split()}))
        standing.tombstones = self._tombstones(standing.tombstones, now)

    def _tombstones(self, before: Mapping[str, str], now: str) -> dict[str, str]:
        tombstones = {} if self.whole else dict(before)
        alive: Iterable[str] = () if self.whole else self.in_step
        for name in alive:
            tombstones.pop(name, None)
        return {**tombstones, **{name: before.get(name, now) for name in self.doomed}}
