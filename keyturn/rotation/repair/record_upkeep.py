"""Records of an older release, and values that no record names: both are put right without stopping a rotation."""

import random
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from keyturn.core.compare_and_set import VersionedEntry, change_entry, jittered
from keyturn.core.errors import KeyturnError
from keyturn.core.record import Record, Stage
from keyturn.rotation.candidates import (
    CANDIDATES,
    ROTATIONS,
    HasHub,
    is_of,
    remove_values,
)
from keyturn.rotation.state.context import side_by_side
from keyturn.rotation.state.records import load_record, rewrite

AT_ONCE: Final = 8
"""Records that are read at a time."""


def move_values(workspace: HasHub, path: str, *, every: bool = False) -> None:
    """Move the values of the secret's record to their own entries. Done before is success.

    A process of an older release that holds the rotation is refused from then on, and this release continues it. With
    ``every`` a record without values is rewritten too, so that an older process writes none into it. Raises Contended,
    and Invalid for a record that cannot be read.
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
    """The same for all records of the hub: why it failed, by secret."""

    def moved(path: str) -> tuple[str, KeyturnError | None]:
        try:
            move_values(workspace, path, every=every)
            return path, None
        except KeyturnError as error:
            return path, error

    listed = (path.removeprefix(f"{ROTATIONS}/") for path in workspace.hub.list_state(ROTATIONS))
    return {path: error for path, error in side_by_side(moved, listed, AT_ONCE) if error}


def remove_leftovers(workspace: HasHub) -> list[str]:
    """The secrets of which values were removed that no record names.

    A rotation that is at work is left alone: the next look finds what it leaves.
    """
    entries: dict[str, set[str]] = defaultdict(set)
    for place in workspace.hub.list_state(CANDIDATES):
        entries[place.removeprefix(f"{CANDIDATES}/").rpartition("/")[0]].add(place)
    return [path for path, stored in sorted(entries.items()) if remove_leftovers_of(workspace, path, stored)]


def remove_leftovers_of(workspace: HasHub, path: str, stored: Iterable[str] | None = None) -> bool:
    """The same for one secret; ``stored`` are its entries where they are known.

    The record is written again before anything is removed. A worker that was suspended before it wrote a record that
    names an entry found here is refused by that write.
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
    """Whether a process may hold the record, or none was ever written: a write here could come before its own."""
    rotation = record.rotation
    return not record.version or (rotation is not None and (bool(record.open) or rotation.stage is Stage.RETIRING))
