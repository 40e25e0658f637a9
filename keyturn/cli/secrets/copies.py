"""Where every copy stands, told by a plan, and since when it fails, told by what earlier runs have kept."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from keyturn.catalogue.destinations import FieldPattern
from keyturn.cli.output import stamp, when
from keyturn.core.error_codes import code_of_kind
from keyturn.core.errors import KeyturnError
from keyturn.core.fingerprint import shown
from keyturn.core.plan import TROUBLE, Action, Item, Plan
from keyturn.rotation.copies import store_status
from keyturn.rotation.copies.push import CopyState
from keyturn.rotation.copies.store_status import Failing
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.sync.plan import plan
from keyturn.sync.restarts import remarks
from keyturn.sync.wanted import Wanted, unknown_item

AT_ONCE: Final = 8

STATES: Final = {
    Action.IN_SYNC: CopyState.IN_STEP,
    Action.DRIFTED: CopyState.DRIFTED,
    Action.NOT_COMPARED: Action.NOT_COMPARED,
}
"""What is said of a copy that does not fail; every other one is stale."""


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """One copy, in names only. ``since`` is when runs began to fail at it; None where none has, or it is in step."""

    item: Item
    kept: Failing | None = None

    @property
    def since(self) -> datetime | None:
        """Since when runs fail at it."""
        return datetime.fromisoformat(self.kept.since) if self.kept and self.kept.since else None

    @property
    def fails(self) -> bool:
        """Whether it can't be brought in step, as far as can be told before trying again."""
        return self.item.action in TROUBLE or self.kept is not None

    @property
    def state(self) -> str:
        """In one word or two."""
        return str(CopyState.FAILED if self.fails else STATES.get(self.item.action, CopyState.STALE))

    @property
    def kind(self) -> str:
        """The class of its error; empty where it does not fail."""
        if self.kept and self.item.action not in TROUBLE:
            return self.kept.kind
        return (self.item.kind or str(self.item.action)) if self.fails else ""

    @property
    def error(self) -> str:
        """Its error's words; empty where it does not fail."""
        if self.kept and self.item.action not in TROUBLE:
            return self.kept.error
        return self.item.why if self.fails else ""

    def lines(self) -> list[str]:
        """For people."""
        since = [f"  since {when(self.since)}"] if self.since else []
        return [f"{self.item.store} {self.state}{f', {self.kind}' if self.kind else ''}", *since]

    def to_data(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "store": self.item.store,
            "name": self.item.name,
            "state": self.state,
            "action": str(self.item.action),
            "version": self.item.version or None,
            "holds": self.item.holds or None,
            "fingerprint": shown(self.item.fingerprint),
            "error": self.error,
            "kind": self.kind,
            "code": code_of_kind(self.kind),
            "failing_since": stamp(self.since),
        }


@dataclass(frozen=True)
class CatalogueCopies:
    """Every copy of a catalogue by its secret, how many there are of each action, and what a plan says besides.

    ``lost`` are the secrets that the hub has lost newer versions of; None where nobody could tell.
    """

    of: Mapping[str, tuple[CopyStatus, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    lost: tuple[str, ...] | None = None

    def beside(self, paths: Iterable[str]) -> list[CopyStatus]:
        """What is not in sync of all other secrets, which only patterns push or nothing declares any more."""
        others = sorted(self.of.keys() - set(paths))
        return [copy for path in others for copy in self.of[path] if copy.item.action is not Action.IN_SYNC]


def look_at_copies(workspace: Workspace) -> CatalogueCopies:
    """Where every copy stands, told by a few listings. What can't be told is an error at every copy."""
    try:
        planned = plan(workspace)
    except KeyturnError as error:
        planned = unreadable_plan(workspace, error)
    failures = failing_copies(workspace, sorted({item.store for item in planned.items}))
    by_secret: dict[str, list[CopyStatus]] = defaultdict(list)
    for item in planned.items:
        failed = None if item.action is Action.IN_SYNC else failures[item.store].get(item.name)
        by_secret[item.path].append(CopyStatus(item, failed))
    notes = (*planned.remarks, *remarks(workspace, planned))
    listed = {path: tuple(places) for path, places in by_secret.items()}
    return CatalogueCopies(listed, planned.counts(), notes, planned.lost)


def unreadable_plan(workspace: Workspace, error: KeyturnError) -> Plan:
    """A plan that says of every declared copy why nothing can be told of it."""
    wanted = [
        Wanted(path, place.place if isinstance(place, FieldPattern) else place)
        for path, secret in workspace.catalogue.secrets.items()
        for place in secret.destinations
    ]
    return Plan(workspace.clock(), (), tuple(unknown_item(copy, 0, error) for copy in wanted))


def failing_copies(workspace: Workspace, stores: Sequence[str]) -> dict[str, Mapping[str, Failing]]:
    """The copies of each store that fail, as the last runs left it; none where that can't be read."""

    def failing_in(store: str) -> Mapping[str, Failing]:
        try:
            return store_status.load_store_status(workspace, store)[0].failing
        except KeyturnError:
            return {}

    return dict(zip(stores, side_by_side(failing_in, stores, AT_ONCE), strict=True))
