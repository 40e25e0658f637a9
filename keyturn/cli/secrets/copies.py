"""The state of every copy from a plan, and since when it fails, from earlier runs' records."""

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
"""The state of a copy that does not fail, by action; every other one is stale."""


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """One copy, in names only."""

    item: Item
    kept: Failing | None = None

    @property
    def since(self) -> datetime | None:
        """The time when runs began to fail; None if none fails or the copy is in sync."""
        return datetime.fromisoformat(self.kept.since) if self.kept and self.kept.since else None

    @property
    def fails(self) -> bool:
        """Whether the copy can't be brought in sync, as far as is known without another attempt."""
        return self.item.action in TROUBLE or self.kept is not None

    @property
    def state(self) -> str:
        return str(CopyState.FAILED if self.fails else STATES.get(self.item.action, CopyState.STALE))

    @property
    def kind(self) -> str:
        """The class of its error, or an empty string."""
        if self.kept and self.item.action not in TROUBLE:
            return self.kept.kind
        return (self.item.kind or str(self.item.action)) if self.fails else ""

    @property
    def error(self) -> str:
        """The message of its error, or an empty string."""
        if self.kept and self.item.action not in TROUBLE:
            return self.kept.error
        return self.item.why if self.fails else ""

    def lines(self) -> list[str]:
        since = [f"  since {when(self.since)}"] if self.since else []
        reason = self.item.why if self.item.action is Action.IN_SYNC else self.kind
        return [f"{self.item.store} {self.state}{f', {reason}' if reason else ''}", *since]

    def to_data(self) -> dict[str, Any]:
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
    """All copies of a catalogue by secret, their counts by action, and the plan's remarks.

    ``lost`` are the secrets that lost newer versions in the hub; None if that is unknown.
    """

    of: Mapping[str, tuple[CopyStatus, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    lost: tuple[str, ...] | None = None

    def beside(self, paths: Iterable[str]) -> list[CopyStatus]:
        """Return copies that are not in sync of all other secrets, which only patterns push or which are undeclared."""
        others = sorted(self.of.keys() - set(paths))
        return [copy for path in others for copy in self.of[path] if copy.item.action is not Action.IN_SYNC]


def look_at_copies(workspace: Workspace) -> CatalogueCopies:
    """Determine the state of every copy from a few listings. An error appears at every copy that it hides."""
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
    """Return a plan with this error at every declared copy."""
    wanted = [
        Wanted(path, place.place if isinstance(place, FieldPattern) else place)
        for path, secret in workspace.catalogue.secrets.items()
        for place in secret.destinations
    ]
    return Plan(workspace.clock(), (), tuple(unknown_item(copy, 0, error) for copy in wanted))


def failing_copies(workspace: Workspace, stores: Sequence[str]) -> dict[str, Mapping[str, Failing]]:
    """Return each store's failing copies, as the last runs recorded them; none if that is unreadable."""

    def failing_in(store: str) -> Mapping[str, Failing]:
        try:
            return store_status.load_store_status(workspace, store)[0].failing
        except KeyturnError:
            return {}

    return dict(zip(stores, side_by_side(failing_in, stores, AT_ONCE), strict=True))
