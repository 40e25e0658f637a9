"""Read and write rotation records: who holds a rotation, and how another process takes it over."""

from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from keyturn.core.clocks import OutOfReach
from keyturn.core.compare_and_set import VersionedEntry, change_entry
from keyturn.core.errors import Conflict, Invalid, KeyturnError, Locked, Superseded
from keyturn.core.ports.hub import State
from keyturn.core.rotation_record import FORMAT, Newer, Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.candidates import ROTATIONS, HasHub, places, remove_values, store_values, stored_fields
from keyturn.rotation.state.context import Workspace, alive

ELSE: Final = "something other than Keyturn wrote there"


def load_record(workspace: HasHub, path: str) -> Record:
    """The secret's record, empty before its first rotation. Raises Invalid for an unreadable record."""
    state = workspace.hub.read_state(f"{ROTATIONS}/{path}")
    return read_record(workspace, path, state) if state else Record()


def load_whatever(workspace: HasHub, path: str) -> Record:
    """The record; an unreadable one as an empty record of its version, which a revocation may overwrite."""
    state = workspace.hub.read_state(f"{ROTATIONS}/{path}")
    try:
        return read_record(workspace, path, state) if state else Record()
    except Invalid:
        return Record(version=state.version if state else 0)


def without_lost(record: Record) -> Record:
    """The record without values whose entries are gone. Reads its values."""
    return replace(record, candidate=_found(record.candidate), rest=_found(record.rest))


def _found(values: SecretFields | None) -> SecretFields | None:
    try:
        return values if values is not None and len(values) else None
    except (Invalid, Superseded):
        return None


def read_record(workspace: HasHub, path: str, state: State) -> Record:
    """The record in a hub entry. Raises Invalid, naming only its place."""
    place = f"{workspace.hub.state_mount}/{ROTATIONS}/{path}"
    try:
        stored = partial(stored_fields, workspace, path)
        return Record.from_data(state.data, state.version, state.age, stored)
    except Newer as newer:
        problem = f"its record is of format {newer.format}, and this Keyturn knows {FORMAT} at most"
        raise Invalid("read", path, problem, "Let the newest Keyturn that works here do it") from None
    except (ValueError, TypeError, KeyError) as error:
        why = f"{error}, so a clock was wrong, or {ELSE}" if isinstance(error, OutOfReach) else ELSE
        problem = f"its record {place} can't be read: {why}"
        hint = "Put back what was there from a snapshot of the hub"
        lost = "the next rotation begins a new one; whatever it held open is forgotten, and the old credential stays"
        raise Invalid(
            "read", path, problem, f"{hint}, or remove it (`vault kv metadata delete {place}`): {lost}"
        ) from None


def promoted_last(record: Record) -> Rotation | None:
    """The rotation that made CURRENT, by the record."""
    return record.retiring or next((past for past in reversed(record.history) if past.version is not None), None)


def save(
    workspace: Workspace, path: str, record: Record, rotation: Rotation, candidate: SecretFields | None = None
) -> Record:
    """Write ``record`` with ``rotation`` in place. Raises Conflict when another worker wrote first."""
    return rewrite(workspace, path, record.having(rotation, candidate))


def rewrite(workspace: HasHub, path: str, record: Record) -> Record:
    """Compare-and-set the record. Raises Conflict when another worker wrote first.

    Stores its values first, and removes the values that it no longer names afterwards.
    """
    stored = store_values(workspace, path, record)
    named = places(stored)
    try:
        version = workspace.hub.write_state(f"{ROTATIONS}/{path}", stored.to_data(), cas=record.version)
    except Conflict:
        take_back(workspace, path, named - record.stored)
        raise
    remove_values(workspace, path, record.stored - named)
    return replace(stored, version=version, age=0.0, stored=named, format=FORMAT)


def take_back(workspace: HasHub, path: str, made: Set[str]) -> None:
    """Remove the values of a record whose write failed."""
    if made:
        # Behind a proxy that repeats requests, the other write may have been this one.
        with suppress(KeyturnError):
            remove_values(workspace, path, made - load_record(workspace, path).stored)


def update_record(
    workspace: Workspace,
    path: str,
    change: Callable[[Record], Record | None],
    load: Callable[[Workspace, str], Record] = load_record,
    *,
    first: Record | None = None,
) -> Record:
    """Apply a change to the record by compare-and-set with retries; None from ``change`` writes nothing.

    ``first`` is the record if already read. Raises Contended, and the errors of ``change``.
    """
    entry: VersionedEntry[Record, Record, Record] = VersionedEntry(
        f"the record of {path}",
        lambda: load(workspace, path),
        lambda _, wanted: rewrite(workspace, path, wanted),
        lambda record: process_of(record.rotation.holder) if record.rotation else "",
    )
    before, after = change_entry(entry, change, workspace.pause, first=first)
    return after or before


def claim(workspace: Workspace, path: str, record: Record) -> Record:
    """Make this process the holder of the open rotation. Raises Locked while its holder may be at work.

    A rotation that a revocation holds is never claimed.
    """
    rotation = record.open
    if rotation and rotation.stage is Stage.CUTTING:
        hint = "Nothing to do: it continues by itself, and replaces the secret if that was requested"
        raise Locked("rotate", path, f"the revocation {record.frozen} holds it", hint)
    return take_over(workspace, path, record, rotation) if rotation else record


def take_over(workspace: Workspace, path: str, record: Record, rotation: Rotation) -> Record:
    """Make this process the holder of ``rotation``. Raises Locked while its holder may be at work."""
    if rotation.holder == workspace.holder:
        return record
    living = alive(rotation.holder)
    if living or (living is None and record.age < workspace.patience):
        raise held_by_another(path, rotation)
    try:
        return save(workspace, path, record, replace(rotation, holder=workspace.holder), record.candidate)
    except Conflict:
        raise held_by_another(path, rotation) from None


def renumbered(workspace: Workspace, path: str, record: Record, *, fresh: bool = False) -> Record:
    """The record, with its open rotation's number raised where the target has a greater one.

    That happens after a restore of the hub or a loss of the record. For a ``fresh`` rotation, an equal number is
    another one's too. Raises Locked when another worker was faster.
    """
    rotation = record.open
    stands = stands_at(workspace, path) if rotation else 0
    if rotation is None or stands < rotation.sequence or (stands == rotation.sequence and not fresh):
        return record
    try:
        return save(workspace, path, record, replace(rotation, sequence=record.next_sequence(stands)), record.candidate)
    except Conflict:
        raise held_by_another(path, rotation) from None


def stands_at(workspace: Workspace, path: str) -> int:
    """The highest number at the target; 0 if unknown, so that the next action reports why."""
    try:
        return workspace.open_strategy(path).last_sequence()
    except KeyturnError:
        return 0


def insist_on_holding(workspace: Workspace, path: str, record: Record) -> None:
    """Read the record again, directly before a change to a target that can't refuse a suspended worker.

    Raises Locked when another worker has continued from it.
    """
    newest = load_record(workspace, path)
    if newest.version != record.version:
        rotation = newest.rotation or record.rotation
        raise held_by_another(path, rotation) if rotation else Locked("rotate", path, "another run has finished it")


def held_by_another(path: str, rotation: Rotation) -> Locked:
    """The error for a process that comes second."""
    hint = "Nothing to do: it continues by itself, and a later run finishes it if that process dies"
    return Locked("rotate", path, f"rotation {rotation.token} is held by {process_of(rotation.holder)}", hint)


def process_of(holder: str) -> str:
    """A holder's name for people: ``process 4711 on host``."""
    host, _, process = holder.partition("/")
    return f"process {process.partition('/')[0]} on {host}"


def open_by(workspace: Workspace, path: str, token: str) -> Record:
    """The record, for a step of rotation ``token``. Raises Superseded when that is no longer the newest."""
    record = load_record(workspace, path)
    if record.rotation is None or record.rotation.token != token:
        hint = "Nothing is lost: see `keyturn history` for what the newer run did"
        raise Superseded("go on with", path, f"rotation {token} is over", hint)
    return claim(workspace, path, record)
