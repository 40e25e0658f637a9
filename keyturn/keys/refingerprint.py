"""Replace the key of all fingerprints step by step, while every copy stays in sync.

A successor is added. Once every process has had time to read it, it makes new fingerprints, and old ones stay valid.
Then all copies are marked again, and the old key is retired: its marks are no longer trusted, but it is kept for older
records. Any later run can continue.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import Conflict, Denied, KeyturnError, unexpected
from keyturn.core.fingerprint import vouches
from keyturn.core.fingerprint_keys import BOUND, RETIRED, USED, FingerprintKeys, key_entry, word_entry
from keyturn.core.plan import Action, Item
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.copies.labels import describe_copies
from keyturn.rotation.copies.ownership import mark_anew, marked_copies
from keyturn.rotation.copies.previous_version import with_previous
from keyturn.rotation.copies.push import CopyState, ours, text_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.sync.apply import Applier, Result, result

SETTLING: Final = timedelta(minutes=10)
"""The wait before the next step."""
BATCH: Final = 500
"""Approximate number of copies marked per call."""
PART: Final = 64
AT_ONCE: Final = 16
SHOWN: Final = 100
TURN: Final = "turn the key of fingerprints"


@dataclass(frozen=True)
class KeyStanding:
    """The key in use, its age, and whether it is being replaced."""

    generation: int
    made_at: datetime
    turning: bool
    retired: tuple[int, ...] = ()


@dataclass(frozen=True)
class Turned:
    """The result of one call, in names only.

    ``step`` is ``nothing``, ``begun``, ``settling``, ``in use``, ``marking``, ``held open`` or ``retired``. ``left``
    names what keeps the old key open. ``again_at`` is when to continue.
    """

    step: str
    generation: int
    message: str
    marked: int = 0
    left: tuple[str, ...] = ()
    again_at: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.step in ("nothing", "retired")


@dataclass(frozen=True)
class Outlived:
    """A copy with an older key's fingerprint. ``store`` may be a view."""

    name: str
    store: Store
    copy: RemoteSecret
    merged: bool

    @property
    def item(self) -> Item:
        """The copy as an item of a sync."""
        path = self.copy.marks.source if self.copy.marks else ""
        return Item(Action.UPDATE, path, self.name, self.copy.name, merged=self.merged)


def standing(workspace: Workspace) -> KeyStanding:
    """The key in use and whether it is being replaced."""
    keys = workspace.hub.fingerprint_keys(fresh=True)
    return KeyStanding(keys.in_use, keys.current.made_at, is_turning(keys), tuple(sorted(keys.retired)))


def is_turning(keys: FingerprintKeys) -> bool:
    """Whether copies may carry another key's fingerprint."""
    return len(keys.accepted) > 1


def turn_fingerprint_key(workspace: Workspace, now: datetime, *, begin: bool = True) -> Turned:
    """Take the next step and report it. ``now`` is the hub's time. Without ``begin``, only continue.

    Raises the hub's errors. An unreachable store keeps the old key open.
    """
    keys = workspace.hub.fingerprint_keys(fresh=True)
    if keys.newest.generation > keys.in_use:
        return use(workspace, keys, now)
    if is_turning(keys):
        return mark_copies(workspace, keys, now)
    if not begin:
        return Turned("nothing", keys.in_use, f"Key {keys.in_use} of the fingerprints is in use, and no other")
    return begin_successor(workspace, keys, now)


def begin_successor(workspace: Workspace, keys: FingerprintKeys, now: datetime) -> Turned:
    """Add a new key next to the one in use."""
    number = keys.newest.generation + 1
    with record_action(workspace, TURN, note=f"key {number} follows"):
        claim(workspace, key_entry(number), {"key": secrets.token_hex(32), BOUND: True})
    if workspace.hub.fingerprint_keys(fresh=True).newest.generation < number:
        hint = f"See who has written it, then remove it: `vault kv metadata delete -mount=MOUNT {key_entry(number)}`"
        raise Conflict("turn", "the key of fingerprints", f"the entry {key_entry(number)} holds no key", hint)
    message = f"Key {number} of the fingerprints is made; it is used once every process knows it"
    return Turned("begun", number, message, again_at=now + SETTLING)


def use(workspace: Workspace, keys: FingerprintKeys, now: datetime) -> Turned:
    """Use the newest key for new fingerprints, once old enough."""
    number, ready_at = keys.newest.generation, keys.newest.made_at + SETTLING
    if now < ready_at:
        message = f"Key {number} of the fingerprints waits until every process knows it"
        return Turned("settling", number, message, again_at=ready_at)
    with record_action(workspace, TURN, note=f"key {number} is in use"):
        claim(workspace, word_entry(number, USED), {USED: True})
    workspace.hub.fingerprint_keys(fresh=True)
    return Turned("in use", number, f"Key {number} of the fingerprints is in use; copies are re-marked gradually")


def mark_copies(workspace: Workspace, keys: FingerprintKeys, now: datetime) -> Turned:
    """Mark a batch of copies again, or retire unused older keys."""
    outlived, left = outlived_copies(workspace)
    marked, number = 0, keys.in_use
    if outlived:
        with record_action(workspace, TURN, note=f"{len(outlived)} copies bear an older key than {number}") as doing:
            marked, refused, whole = mark_batch(workspace, outlived)
            doing.note = f"{marked} copies are re-marked, {len(refused)} are not"
        left += refused
        if marked and not whole:
            return Turned("marking", number, f"{marked} copies are re-marked, and more are left", marked)
    if left:
        message = f"{marked} copies are re-marked; {len(left)} keep the key before {number} open"
        return Turned("held open", number, message, marked, tuple(left[:SHOWN]))
    if marked:
        return Turned("marking", number, f"{marked} copies are re-marked", marked)
    return retire_older(workspace, keys, now)


def retire_older(workspace: Workspace, keys: FingerprintKeys, now: datetime) -> Turned:
    """Retire the older keys, once no process uses them."""
    number, ready_at = keys.in_use, keys.used_since + SETTLING
    if now < ready_at:
        message = f"No copy bears an older key than {number}; older ones are retired once no process makes such marks"
        return Turned("settling", number, message, again_at=ready_at)
    older = [generation for generation in keys.accepted if generation < number]
    words = ", ".join(map(str, older))
    with record_action(workspace, TURN, note=f"key {words} is retired"):
        for generation in older:
            claim(workspace, word_entry(generation, RETIRED), {RETIRED: True})
    workspace.hub.fingerprint_keys(fresh=True)
    return Turned("retired", number, f"Key {number} of the fingerprints is in use alone; key {words} is retired")


def claim(workspace: Workspace, entry: str, data: dict[str, object]) -> None:
    """Write an immutable entry, or keep an existing one. Raises Denied."""
    try:
        workspace.hub.claim_state(entry, data)
    except (Conflict, Denied):
        if workspace.hub.read_state(entry) is None:
            raise


def outlived_copies(workspace: Workspace) -> tuple[list[Outlived], list[str]]:
    """This catalogue's copies with an older key, and other obstacles to its retirement."""
    copies, left = list[Outlived](), list[str]()
    for name in sorted(first_of_systems(workspace)):
        try:
            for copy in outlived_in(workspace, name):
                marks = copy.copy.marks
                if marks and not ours(workspace, marks):
                    left.append(f"{copy.item.label}: the catalogue {marks.catalogue} has made it, and has to mark it")
                else:
                    copies.append(copy)
        except KeyturnError as error:
            left.append(f"{name}: {error.problem}")
        except Exception as error:  # noqa: BLE001  its text could hold a value
            left.append(f"{name}: {unexpected(error).problem}")
    return copies, left


def first_of_systems(workspace: Workspace) -> Iterator[str]:
    """The first store of each system."""
    stores = workspace.catalogue.stores
    yield from {store.system: name for name, store in sorted(stores.items(), reverse=True)}.values()


def outlived_in(workspace: Workspace, name: str) -> Iterator[Outlived]:
    """One store's copies with an older key, of any catalogue."""
    keys = workspace.fingerprint_keys
    for view, copy, merged in marked_copies(workspace, name, workspace.open_store(name)):
        if copy.marks and keys.outlived(copy.marks.fingerprint):
            yield Outlived(name, view, copy, merged)


def mark_batch(workspace: Workspace, outlived: list[Outlived]) -> tuple[int, list[str], bool]:
    """The numbers of marked copies and failures, and whether all were tried."""
    applier, marked, refused, tried = Applier(workspace), 0, list[str](), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(outlived), PART):
            some = outlived[start : start + PART]
            for done in pool.map(lambda copy: applier.attempt(copy.item, lambda: marked_one(workspace, copy)), some):
                marked += done.state == CopyState.LABELLED
                refused += [f"{done.label}: {done.error}"] if done.error else []
            tried += len(some)
            if marked >= BATCH:
                break
    return marked, refused, tried == len(outlived)


def marked_one(workspace: Workspace, outlived: Outlived) -> Result:
    """Mark one copy again in its present state."""
    store, item = outlived.store, outlived.item
    copy = store.describe(outlived.copy.name)
    marks = copy.marks if copy else None
    if copy is None or marks is None or not workspace.fingerprint_keys.outlived(marks.fingerprint):
        return result(item, str(CopyState.IN_STEP))  # another process has written or removed it since
    text = text_held(workspace, outlived, copy) if copy.intact else None
    if text is None:
        return result(item, str(CopyState.DRIFTED))  # it had drifted under the old key, and stays so
    if copy.marks and copy.marks.tags and not outlived.merged:
        [copy] = describe_copies(workspace, outlived.name, [copy])
    mark_anew(workspace, store, copy, text)
    return result(item, str(CopyState.LABELLED))


def text_held(workspace: Workspace, outlived: Outlived, copy: RemoteSecret) -> Sensitive | None:
    """The text of a copy, proven by its mark: from the store, else from the hub.

    None if the mark doesn't match. Raises Conflict if unknown.
    """
    mark, path = (copy.marks.fingerprint, copy.marks.source) if copy.marks else ("", "")
    readable = Unsupported.READ not in outlived.store.unsupported
    texts = [outlived.store.read(copy.name)] if readable else texts_of_hub(workspace, outlived)
    for text in texts:
        if vouches(mark, workspace.fingerprint_of(path, text)):
            return text
    if readable:
        return None
    problem = "its contents can't be read, and the hub has no value that matches its mark"
    raise Conflict("mark", outlived.item.label, problem, "Write it again, or delete it if it is not needed")


def texts_of_hub(workspace: Workspace, outlived: Outlived) -> Iterator[Sensitive]:
    """The possible texts of an unreadable copy."""
    path, version = (outlived.copy.marks.source, outlived.copy.marks.version) if outlived.copy.marks else ("", 0)
    for secret in (workspace.hub.read(path), workspace.hub.read(path, version)):
        if secret is None:
            continue
        places = all_places(workspace.catalogue, path, secret.fields)
        same = workspace.catalogue.store(outlived.name).system
        for place in places:
            there = workspace.catalogue.store(place.store)
            if there.system == same and there.limits.same(place.name) == there.limits.same(outlived.copy.name):
                yield text_of(with_previous(workspace, secret, [place]), place)
