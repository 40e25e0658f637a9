"""What rotations, syncs and revocations of several workers change at the same time, as entries of the hub."""

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
"""Entries that are read side by side."""


def current_entry(workspace: Workspace, path: str) -> VersionedEntry[HubSecret | None, HubSecret, HubSecret]:
    """CURRENT of a secret: what is written becomes its next version. One that is absent has none before it.

    The version names the entry of the ledger by which it was begun, where that is known.
    """

    def write(current: HubSecret | None, wanted: HubSecret) -> HubSecret:
        version = workspace.hub.write(path, wanted.fields, cas=current.version if current else 0)
        if mark := entry_mark(current.custom if current else {}, version):
            # It is written: a remark on it holds nothing up, least of all a revocation.
            with suppress(KeyturnError):
                workspace.hub.patch_metadata(path, mark)
        return replace(wanted, version=version)

    return VersionedEntry(path, lambda: workspace.hub.read(path), write)


def read_entries(workspace: Workspace, folder: str, read: Callable[[str], T | None]) -> tuple[list[T], list[Invalid]]:
    """All that ``read`` gives of the entries below a folder, side by side; and what is wrong with those that are none.

    Raises whatever else keeps one from being read.
    """

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
) -> T:
    """Lay a change over one entry of Keyturn's own state, whoever else writes it; what stands there then.

    ``load`` gives the entry and its version, 0 where there is none. What comes out equal is not written. Raises
    Contended.
    """

    def changed(before: tuple[T, int]) -> T | None:
        after = change(before[0])
        return None if after == before[0] else after

    def write(before: tuple[T, int], after: T) -> T:
        workspace.hub.write_state(place, to_data(after), cas=before[1])
        return after

    entry = VersionedEntry(f"{workspace.hub.state_mount}/{place}", load, write)
    before, after = change_entry(entry, changed, workspace.pause)
    return before[0] if after is None else after
