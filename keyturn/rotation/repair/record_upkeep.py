"""Update records of an older release, and remove values that no record names, without stopping a rotation."""

import random
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from keyturn.core.compare_and_set import VersionedEntry, change_entry, jittered
from keyturn.core.errors import KeyturnError
from keyturn.core.rotation_record import Record, Stage
from keyturn.rotation.candidates import (
    CANDIDATES,
    ROTATIONS,
    HasHub,
    is_of,
    remove_values,
)
from keyturn.rotation.state.context import side_by_side
from keyturn.rotation.state.record_store import load_record, rewrite

AT_ONCE: Final = 8
"""Records that are read at a time."""


def move_values(workspace: HasHub, path: str, *, every: bool = False) -> None:
    """Move the values of the secret's record to separate entries. Already done is success.

    An older release that holds the rotation is refused afterwards, and this release continues it. ``every`` rewrites
    records without values too, so that no older process adds any. Raises Contended, and Invalid for an unreadable
    record.
    """
    entry: VersionedEntry[Record, Record, Record] = VersionedEntry(
        f"the record of {path}",
        lambda: load_record(workspace, path),
        lambda _, record: rewrite(workspace, path, record),
    )

    def moved(record: Record) -> Record | None:
        return record if record.exposed or (every and record.outdated) else None

    change_entry(entry, moved, jittered(time.sleep, random.random))


def move_all_values(workspace: HasHub, *, every: bool = False) -> dict[str, KeyturnError]:
    """Move the values of all records; returns the errors by secret."""

    def moved(path: str) -> tuple[str, KeyturnError | None]:
        try:
            move_values(workspace, path, every=every)
            return path, None
        except KeyturnError as error:
            return path, error

    listed = (path.removeprefix(f"{ROTATIONS}/") for path in workspace.hub.list_state(ROTATIONS))
    return {path: error for path, error in side_by_side(moved, listed, AT_ONCE) if error}


def remove_leftovers(workspace: HasHub) -> list[str]:
    """Remove the values that no record names, and return their secrets.

    Skips a running rotation: a later run finds its leftovers.
    """
    entries: dict[str, set[str]] = defaultdict(set)
    for place in workspace.hub.list_state(CANDIDATES):
        entries[place.removeprefix(f"{CANDIDATES}/").rpartition("/")[0]].add(place)
    return [path for path, stored in sorted(entries.items()) if remove_leftovers_of(workspace, path, stored)]


def remove_leftovers_of(workspace: HasHub, path: str, stored: Iterable[str] | None = None) -> bool:
    """Remove the leftovers of one secret; ``stored`` are its entries if known.

    Writes the record again first. That refuses a suspended worker whose record would name a removed entry.
    """
    every = workspace.hub.list_state(f"{CANDIDATES}/{path}") if stored is None else stored
    listed = {place for place in every if is_of(path, place)}
    if not listed:
        return False
    try:
        record = load_record(workspace, path)
        leftovers = listed - record.stored
        if not leftovers or is_at_work(record):
            return False
        rewrite(workspace, path, record)
    except KeyturnError:
        return False
    remove_values(workspace, path, leftovers)
    return True


def is_at_work(record: Record) -> bool:
    """Whether a process may hold the record, or none was ever written, so that a write here could be too early."""
    rotation = record.rotation
    return not record.version or (rotation is not None and (bool(record.open) or rotation.stage is Stage.RETIRING))
