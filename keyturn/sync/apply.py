"""Apply the items of a plan, each at the pace of its store."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import DEFAULT_ID
from keyturn.core.errors import Conflict, KeyturnError, NotOwned, Taken, Throttled, Unavailable, unexpected
from keyturn.core.fingerprint import vouches
from keyturn.core.plan import Action, Item
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported, creator
from keyturn.rotation.copies.push import CopyState, Pushed, converge, create_copy
from keyturn.rotation.state.context import Workspace
from keyturn.sync.orphans import made_here
from keyturn.sync.pace import Pace

TRIES: Final = 6
"""Attempts per copy while its store is throttling."""

SILENT: Final = 5
"""Consecutive unanswered copies after which a store is skipped."""


_T = TypeVar("_T")


@dataclass(frozen=True)
class Result:
    """The outcome of one item, in names only. ``error`` and ``kind`` are empty on success.

    ``version`` and ``fingerprint`` are of the compared value in the hub, or 0 and empty.
    """

    action: str
    path: str
    store: str
    name: str
    state: str
    error: str = ""
    kind: str = ""
    version: int = 0
    fingerprint: str = ""
    slot: str = ""

    @property
    def label(self) -> str:
        """The copy's name for people."""
        return f"{self.store}:{self.name}"


DELETED: Final = "deleted"


@dataclass(frozen=True)
class Made:
    """A new copy to be confirmed, because CURRENT may have changed."""

    item: Item
    pushed: Pushed


@dataclass
class Applier:
    """Applies items in this process. Thread-safe. ``share`` is its part of each store's quota."""

    workspace: Workspace
    share: float = 1.0
    _paces: dict[str, Pace] = field(default_factory=dict)
    _silent: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pace(self, store: str) -> Pace:
        """The pace at a store."""
        with self._lock:
            if store not in self._paces:
                settings = self.workspace.catalogue.store(store)
                rate = settings.writes_per_second or settings.QUOTA
                self._paces[store] = Pace(rate * self.share if rate else None)
            return self._paces[store]

    def apply(self, item: Item, overtaken: int = 0) -> Result:
        """Apply one item and return any error. See :func:`converge`."""
        return self.attempt(item, lambda: once(self.workspace, item, overtaken))

    def make(self, item: Item, read: Callable[[str], HubSecret]) -> Result | Made:
        """Create a new copy of the value from ``read``, without reading the store if possible.

        A :class:`Made` copy still has to be confirmed.
        """
        return self.attempt(item, lambda: make_new(self.workspace, item, read) or once(self.workspace, item))

    def confirm(self, copies: Sequence[Made]) -> Iterator[Result]:
        """Report new copies, and apply again those whose CURRENT has changed."""
        try:
            now = self.workspace.hub.describe_many({copy.item.path for copy in copies}) if copies else {}
        except Exception as error:  # noqa: BLE001  the copies are there all the same, and have to be told of
            why = error if isinstance(error, KeyturnError) else unexpected(error)
            yield from (result(copy.item, str(CopyState.FAILED), why) for copy in copies)
            return
        for copy in copies:
            info = now.get(copy.item.path)
            still = info is not None and info.served and info.version == copy.pushed.version
            # The grace period of PREVIOUS may have ended since, so such a copy is compared separately.
            whole = still and not destination(self.workspace, copy.item).shape.tells_previous
            yield settled(copy.item, copy.pushed) if whole else self.apply(copy.item, copy.pushed.version)

    def attempt(self, item: Item, work: Callable[[], _T]) -> _T | Result:
        """Do ``work`` at the store's pace and return any error."""
        try:
            self._heard(item)
            return self._patiently(item, work)
        except KeyturnError as error:
            return result(item, str(CopyState.FAILED), error)
        except Exception as error:  # noqa: BLE001  its text could hold a value, and it stops no other copy
            return result(item, str(CopyState.FAILED), unexpected(error))

    def _heard(self, item: Item) -> None:
        """Raise Unavailable if the store has stopped answering."""
        if self._silent[item.store] >= SILENT:
            problem, hint = "not tried: the store has stopped answering", "The next run continues with what is left"
            raise Unavailable("push to", item.label, problem, hint)

    def _patiently(self, item: Item, work: Callable[[], _T]) -> _T:
        pace = self.pace(item.store)
        for attempt in range(TRIES):
            try:
                with pace.turn():
                    done = work()
            except Throttled as error:
                pace.throttled(error.retry_after)
                if attempt == TRIES - 1:
                    raise
            except Unavailable:
                self._silent[item.store] += 1
                raise
            else:
                self._silent[item.store] = 0
                pace.succeeded()
                return done
        raise AssertionError("unreachable")


def once(workspace: Workspace, item: Item, overtaken: int = 0) -> Result:
    """Make one attempt. Raises any error."""
    if item.action is Action.DELETE:
        delete(workspace, item)
        return result(item, DELETED)
    planned = item.action is Action.UPDATE and bool(item.why)
    return settled(item, converge(workspace, item.path, destination(workspace, item), overtaken, labels=planned))


def make_new(workspace: Workspace, item: Item, read: Callable[[str], HubSecret]) -> Made | None:
    """Create a copy without reading the store, or return None if impossible."""
    making = None if item.merged else creator(workspace.open_store(item.store))
    if making is None:
        return None
    try:
        return Made(item, create_copy(workspace, read(item.path), destination(workspace, item), making))
    except Taken:
        return None


def destination(workspace: Workspace, item: Item) -> Destination:
    """The catalogue's destination for an item. Raises Conflict without one."""
    for place in workspace.places(item.path):
        if (place.store, place.name) == (item.store, item.name):
            return place
    raise Conflict("push to", item.label, f"{item.path} is not pushed there any more", "Make a new plan")


def delete(workspace: Workspace, item: Item) -> None:
    """Delete an unchanged copy that this catalogue provably made. Raises otherwise."""
    store = open_item(workspace, item)
    copy = store.describe(item.name)
    if copy is None:
        return
    check_ours(workspace, item, copy)
    store.delete(item.name)


def open_item(workspace: Workspace, item: Item) -> Store:
    """The store of a copy, or the view of a merged copy."""
    return workspace.open_part(item.path, item.store) if item.merged else workspace.open_store(item.store)


def check_ours(workspace: Workspace, item: Item, copy: RemoteSecret) -> None:
    """Raise unless this catalogue made the copy and it is unchanged since the plan.

    Anyone can copy marks. The fingerprint proves it, because it requires this hub's key.
    """
    hint = "Delete it by hand if it is not needed"
    if copy.marks is None or copy.marks.source != item.path or not copy.intact:
        raise NotOwned("delete", item.label, "it is no longer Keyturn's own", hint)
    if item.found and copy.version_id != item.found:
        raise Conflict("delete", item.label, "it has changed since it was planned", "Make a new plan")
    if not made_here(workspace, copy.marks):
        raise NotOwned("delete", item.label, f"the catalogue {copy.marks.catalogue or DEFAULT_ID} has made it", hint)
    if copy.marks.adopted:
        raise NotOwned("delete", item.label, "someone else had made it before it was adopted", hint)
    store = open_item(workspace, item)
    if Unsupported.READ in store.unsupported:
        raise NotOwned("delete", item.label, "its values can't be read, so nothing proves whose it is", hint)
    if not vouches(copy.marks.fingerprint, workspace.fingerprint_of(item.path, store.read(item.name))):
        raise NotOwned(
            "delete", item.label, "its fingerprint was made with another hub's key, or with a retired one", hint
        )


def settled(item: Item, pushed: Pushed) -> Result:
    """The result for a compared item."""
    return replace(result(item, str(pushed.state)), version=pushed.version, fingerprint=pushed.fingerprint)


def result(item: Item, state: str, error: KeyturnError | None = None) -> Result:
    """The result for an item."""
    failure = (str(error), type(error).__name__) if error else ("", "")
    return Result(str(item.action), item.path, item.store, item.name, state, *failure, slot=item.slot)
