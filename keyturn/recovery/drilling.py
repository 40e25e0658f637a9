"""A drill: restore the newest backup into a scratch hub, compare it by fingerprints, and remove it."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.fingerprint import is_noted
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.ports.backups import NEWEST, STATE, BackupPlace, HubContent, ListedEntry
from keyturn.recovery.chains import OpenedChain
from keyturn.recovery.lines import KIND, Line, LineKind
from keyturn.recovery.restoring import LONGEST_LIST, RestorePlan, latest_lines, restore_chain
from keyturn.recovery.subject import fingerprint_with, passing

COMPARED_AT_ONCE: Final = 16
COMPARE_WINDOW: Final = 256


@dataclass(frozen=True)
class LiveLoss:
    """The entries that the backup lacks, and the time of the oldest."""

    entries: int
    since: datetime | None


@dataclass(frozen=True)
class DrillReport:
    """The result of a drill. ``seconds`` is the restore time, ``compare_seconds`` the comparison time.

    ``age`` is that of recovery point ``point`` at the start. ``differing`` names differences from the backup.
    """

    chain: str
    sequence: int
    point: datetime
    age: timedelta
    seconds: float
    compare_seconds: float
    entries: int
    versions: int
    differing: tuple[str, ...]
    faults: tuple[str, ...]
    missing: tuple[str, ...]
    live: LiveLoss | None = None

    @property
    def proven(self) -> bool:
        """Whether everything was restored unchanged."""
        return bool(self.entries) and not self.differing and not self.faults


@dataclass
class Comparison:
    """The differing versions, the number compared, and each entry's newest version."""

    differing: list[str] = field(default_factory=list)
    versions: int = 0
    newest: dict[tuple[str, str], int] = field(default_factory=dict)


def insist_on_scratch(scratch: HubContent, live: HubContent | None, mounts: Collection[str] = ()) -> None:
    """Raise Invalid where the scratch hub is the live one, or has one of its ``mounts``."""
    remedy = "Name another under restore_drill in the operator's file"
    if live and scratch.address.rstrip("/").casefold() == live.address.rstrip("/").casefold():
        problem = "it is the hub at work: what is restored there shows nothing of a hub that is lost"
        raise Invalid("drill in", scratch.address, problem, remedy)
    if mounted := [mount for mount in mounts if scratch.is_mounted(mount)]:
        problem = f"it has the mount {mounted[0]} itself: it is the active hub under another name, or its stand-in"
        raise Invalid("drill in", scratch.address, problem, remedy)


def run_drill(
    scratch: HubContent,
    fingerprint_keys: Callable[[], FingerprintKeys],
    place: BackupPlace,
    open_newest: Callable[[], OpenedChain],
    now: datetime,
    live: HubContent | None = None,
) -> DrillReport:
    """Restore into the drill's own mounts in ``scratch``, compare, and remove them.

    ``fingerprint_keys`` are the restored ones. Raises what opening, restoring and removing raise.
    """
    insist_on_scratch(scratch, live)
    began = time.monotonic()
    chain = open_newest()
    insist_on_scratch(scratch, live, {chain.newest.areas[STATE]})
    with _own_mounts(scratch):
        # The mounts are new and empty, so no plan is needed to protect their content.
        restored = restore_chain(scratch, place, RestorePlan(chain, ()))
        whole = time.monotonic()
        compared = compare_restored(scratch, fingerprint_keys(), place, chain)
        done = time.monotonic()
    point = chain.newest.begun_at
    return DrillReport(
        chain.name,
        chain.newest.sequence,
        point,
        now - point,
        whole - began,
        done - whole,
        restored.written,
        compared.versions,
        tuple(compared.differing),
        tuple(restored.faults),
        chain.newest.missing,
        loss_of(live, compared.newest) if live else None,
    )


def compare_restored(content: HubContent, keys: FingerprintKeys, place: BackupPlace, chain: OpenedChain) -> Comparison:
    """Compare every version in the backup with the hub's, by fingerprint and number."""
    lines = (line for line in latest_lines(place, chain) if line[KIND] == LineKind.ENTRY)
    comparison = Comparison()
    with ThreadPoolExecutor(COMPARED_AT_ONCE) as pool:
        while window := list(islice(lines, COMPARE_WINDOW)):
            comparison.newest |= {(line["area"], line["path"]): line["version"] for line in window}
            comparison.versions += sum(len(line["versions"]) for line in window)
            for problems in pool.map(lambda line: list(_differences(content, keys, line)), window):
                comparison.differing += problems
    return comparison


def loss_of(live: HubContent, newest: Mapping[tuple[str, str], int]) -> LiveLoss:
    """The live hub's changes since the backup, by its listings."""
    listed = (entry for area in live.areas for entry in live.listed(area))
    newer = [
        entry for entry in listed if entry.version and not passing(entry) and newest.get(entry.key, 0) < entry.version
    ]
    return LiveLoss(len(newer), min(map(_changed_at, newer), default=None))


def shorten(names: tuple[str, ...]) -> str:
    """Some of many names, for people."""
    more = len(names) - LONGEST_LIST
    return ", ".join(names[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def _differences(content: HubContent, keys: FingerprintKeys, line: Line) -> Iterator[str]:
    """The differing versions; in Keyturn's mount only the newest is compared."""
    area, path = line["area"], line["path"]
    wanted: list[Any] = line["versions"][-1:] if area == STATE else line["versions"]
    for version in wanted:
        there = content.read(area, path, NEWEST if area == STATE else version["n"])
        made = fingerprint_with(keys, area, path, there) if there else ""
        if not made or not is_noted([version["fingerprint"]], made):
            yield f"{area} {path} version {version['n']}"


def _changed_at(entry: ListedEntry) -> datetime:
    return datetime.fromisoformat(str(entry.metadata["updated_time"]))


@contextmanager
def _own_mounts(scratch: HubContent) -> Iterator[None]:
    """The drill's own mounts, always removed at the end with their content."""
    try:
        for area in scratch.areas:
            scratch.make_mount(area)
        yield
    finally:
        faults = list[KeyturnError]()
        for area in scratch.areas:
            try:
                scratch.unmount(area)
            except KeyturnError as error:
                faults.append(error)
        scratch.unmount_transit()
        if faults:
            raise faults[0]
