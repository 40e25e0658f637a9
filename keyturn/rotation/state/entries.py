"""Hub entries that rotations, syncs and revocations of several workers change at once."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from keyturn.core.compare_and_set import VersionedEntry, change_entry
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.ports.hub import HubSecret
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import entry_mark

T = TypeVar("T")

AT_ONCE: Final = 16
"""Entries that are read in parallel."""


def current_entry(workspace: Workspace, path: str) -> VersionedEntry[HubSecret | None, HubSecret, HubSecret]:
    """CURRENT of a secret: a write makes its next version, or the first of an absent one.

    The version's metadata names the ledger entry of the action, if known.
    """

    def write(current: HubSecret | None, wanted: HubSecret) -> HubSecret:
        version = workspace.hub.write(path, wanted.fields, cas=current.version if current else 0)
        if mark := entry_mark(current.custom if current else {}, version):
            # The value is written: a failed mark must not stop anything, least of all a revocation.
            with suppress(KeyturnError):
                workspace.hub.patch_metadata(path, mark)
        return replace(wanted, version=version)

    return VersionedEntry(path, lambda: workspace.hub.read(path), write)


def read_entries(workspace: Workspace, folder: str, read: Callable[[str], T | None]) -> tuple[list[T], list[Invalid]]:
    """All entries below a folder as ``read`` returns them, and the errors of invalid ones. Raises other errors."""

    def attempt(place: str) -> T | Invalid | None:
        try:
            return read(place)
        except Invalid as error:
            return error

    outcomes = side_by_side(attempt, workspace.hub.list_state(folder), AT_ONCE)
    entries = [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, Invalid)]
    return entries, [outcome for outcome in outcomes if isinstance(outcome, Invalid)]


def update_state(
    workspace: Workspace,
    place: str,
    load: Callable[[], tuple[T, int]],
    change: Callable[[T], T],
    to_data: Callable[[T], Mapping[str, Any]],
    *,
    first: tuple[T, int] | None = None,
) -> T:
    """Apply a change to an entry of Keyturn's state by compare-and-set with retries, and return the result.

    ``load`` returns the entry and its version, 0 for none; ``first`` is what it returned before. An equal result is not
    written. Raises Contended.
    """

    def changed(before: tuple[T, int]) -> T | None:
        after = change(before[0])
        return None if after == before[0] else after

    def write(before: tuple[T, int], after: T) -> T:
        workspace.hub.write_state(place, to_data(after), cas=before[1])
        return after

    entry = VersionedEntry(f"{workspace.hub.state_mount}/{place}", load, write)
    before, after = change_entry(entry, changed, workspace.pause, first=first)
    if after is None and first is not None:
        return update_state(workspace, place, load, change, to_data)  # the entry may differ by now
    return before[0] if after is None else after
