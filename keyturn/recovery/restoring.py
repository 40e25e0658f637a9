"""Restores a hub from a chain: plans the writes, then makes them. No older version replaces a newer one."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import IO, Any, Final

from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.mounts import join
from keyturn.core.ports.backups import RESTORED, STATE, BackupPlace, HubContent, ListedEntry, Manifest, mount_name
from keyturn.core.ports.hub import RESTORED_AT
from keyturn.core.ports.restored import RestoredMark
from keyturn.core.sensitive import Sensitive
from keyturn.ledger.naming import BEING_RESTORED, NAMED, LedgerName
from keyturn.recovery.chains import OpenedChain, all_lines
from keyturn.recovery.lines import KIND, Line, LineKind
from keyturn.recovery.parts import read_lines
from keyturn.recovery.subject import undestroyed

WRITE_AT_ONCE: Final = 16
WRITE_WINDOW: Final = 256
OWN: Final = "own"
"""The field that keeps the hub's own ledger name during a restore."""
UNSETTLED: Final[Mapping[str, Any]] = {"max_versions": 0, "cas_required": False, "delete_version_after": "0s"}
"""The settings of an entry created without any."""
LONGEST_LIST: Final = 20
"""The most names that a message lists."""


class RestoreChange(StrEnum):
    """What a restore does to one entry."""

    WRITE = "write"
    """Missing in the hub, or older there."""
    KEEP = "keep"
    """The same in the hub."""
    NEWER = "newer"
    """Newer in the hub, and kept."""
    OTHER = "other"
    """Another value of the same number, or another history, in the hub, and kept."""


@dataclass
class SinceThen:
    """The secrets removed in a non-empty hub or in the backup.

    Listings omit removed entries, so a missing entry may never have existed in the hub.
    """

    removed: list[str] = field(default_factory=list)
    """Removed in the backed-up hub. They stay here."""
    destroyed: list[str] = field(default_factory=list)
    """Versions unreadable in the backed-up hub. They stay here."""
    returning: list[str] = field(default_factory=list)
    """Missing here: removed since the backup, or never there. They are written."""
    unbacked: list[str] = field(default_factory=list)
    """In no backup of the chain: removed before its base, or written here since. They stay."""
    ended: list[str] = field(default_factory=list)
    """Versions destroyed here since the backup. They stay destroyed."""


@dataclass(frozen=True)
class EarlierRestore:
    """An earlier restore: complete at ``whole_at``, or interrupted after ``begun_at``, by the hub's clock.

    An interrupted one may itself follow a complete one.
    """

    whole_at: datetime | None
    begun_at: datetime | None = None

    def wrote(self, entry: ListedEntry) -> bool:
        """Whether the restore wrote the entry last. An incomplete hub accepts no other writes."""
        at = datetime.fromisoformat(str(entry.metadata["updated_time"]))
        return bool((self.whole_at and at < self.whole_at) or (self.begun_at and at > self.begun_at))


@dataclass
class RestorePlan:
    """The plan. ``held`` are entries newer or different in the hub, ``writes`` counts requests.

    ``follows`` is the restore that this one continues.
    """

    chain: OpenedChain
    mounts: tuple[str, ...]
    counts: Counter[RestoreChange] = field(default_factory=Counter)
    held: dict[tuple[str, str], RestoreChange] = field(default_factory=dict)
    writes: int = 0
    keys: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    leaves: int = 0
    since: SinceThen = field(default_factory=SinceThen)
    follows: "EarlierRestore | None" = None

    def insist(self, *, skip_newer: bool) -> None:
        """Raise Conflict where entries in the hub are newer or different."""
        if self.held and not skip_newer:
            named = [f"{path} ({change})" for (_, path), change in islice(self.held.items(), LONGEST_LIST)]
            more = len(self.held) - len(named)
            problem = (
                f"the hub has {len(self.held)} newer or otherwise: {', '.join(named)}{f' and {more}' if more else ''}"
            )
            hint = "Restore into an empty hub; or, with --skip-newer, what the hub does not have, leaving these alone"
            raise Conflict("restore", self.chain.newest.name, problem, hint)


@dataclass
class RestoreResult:
    """What was written, and what failed."""

    written: int = 0
    versions: int = 0
    keys: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    ledger_name: Mapping[str, Any] | None = None


def latest_lines(place: BackupPlace, chain: OpenedChain, *, removed: bool = False) -> Iterator[Line]:
    """The newest line of each entry, key and file, and all ledger lines.

    ``removed`` includes lines about removed entries.
    """
    latest = set[tuple[str, ...]]()
    for _, line in all_lines(place, chain):
        kind = LineKind(line[KIND])
        if kind is LineKind.LEAF:
            yield line
            continue
        about = ("entry", line["area"], line["path"]) if "area" in line else (kind, line.get("name", ""))
        if about not in latest:
            latest.add(about)
            if removed or kind is not LineKind.REMOVED:
                yield line


def plan_restore(content: HubContent, place: BackupPlace, chain: OpenedChain) -> RestorePlan:
    """Return what restoring the chain into this hub would do, changing nothing."""
    missing = tuple(area for area in content.areas if not content.has_mount(area))
    present = listing_of(content, [area for area in content.areas if area not in missing])
    plan, used = RestorePlan(chain, missing), {area for area, _ in present}
    plan.follows = None if STATE in missing else followed_restore(content, chain.newest)
    unbacked = {(area, path) for (area, path), entry in present.items() if area != STATE and entry.version}
    for line in latest_lines(place, chain, removed=True):
        unbacked.discard((line.get("area", ""), line.get("path", "")))
        match LineKind(line[KIND]):
            case LineKind.ENTRY:
                there = present.get((line["area"], line["path"]))
                _plan_entry(plan, content, there, line)
                if line["area"] != STATE and line["area"] in used:
                    _compare_since(plan.since, there, line)
            case LineKind.REMOVED:
                if line["area"] != STATE and (line["area"], line["path"]) in present:
                    plan.since.removed.append(_name_of(line))
            case LineKind.KEY:
                plan.keys.append(line["name"])
            case LineKind.FILE:
                plan.files.append(line["name"])
            case LineKind.LEAF:
                plan.leaves += 1
            case _:
                continue
    plan.since.unbacked = [join(mount_name(area), path) for area, path in sorted(unbacked)]
    return plan


def restore_chain(
    content: HubContent, place: BackupPlace, plan: RestorePlan, tell: Callable[[int], None] = lambda count: None
) -> RestoreResult:
    """Carry out the plan and mark the hub. Safe to repeat.

    During the restore the hub's mark prevents rotations and pushes.
    """
    chain, result = plan.chain, RestoreResult()
    for area in plan.mounts:
        content.make_mount(area)
    own = _own_name(_named_by(content))
    mark_hub(content, chain.newest, whole=False, follows=plan.follows.whole_at if plan.follows else None)
    name_ledger(content, {**LedgerName(BEING_RESTORED + chain.newest.name).to_data(), OWN: own})
    present = listing_of(content, content.areas)
    lines = (line for line in latest_lines(place, chain) if _is_wanted(plan, line))
    with ThreadPoolExecutor(WRITE_AT_ONCE) as pool:
        while window := list(islice(lines, WRITE_WINDOW)):
            entries = [line for line in window if line[KIND] == LineKind.ENTRY and not _names_ledger(line)]
            written = pool.map(lambda line: _write_entry(content, present, line, plan.follows), entries)
            for versions in written:
                result.versions += versions
                result.written += bool(versions)
            for line in window:
                _write_other(content, result, line)
            tell(result.written)
    if not result.faults:
        mark_hub(content, chain.newest, whole=True)
        name_ledger(content, result.ledger_name or own)
        named = int(result.ledger_name not in (None, own))
        result.written, result.versions = result.written + named, result.versions + named
    return result


def name_ledger(content: HubContent, data: Mapping[str, Any] | None) -> None:
    """Make the hub name this ledger, or none. Processes with another ledger begin nothing."""
    there = content.find(STATE, NAMED)
    if data is None:
        content.remove(STATE, NAMED)
        return
    if there is None:
        content.settle(STATE, NAMED, {"max_versions": 1})
    content.write(STATE, NAMED, data, cas=there.version if there else 0)


def followed_restore(content: HubContent, newest: Manifest) -> EarlierRestore | None:
    """The restore that this one continues, as in a standby; None without any.

    None also where the hub was recovered since, or holds a later point.
    """
    there = content.find(STATE, RESTORED)
    version = content.read(STATE, RESTORED, there.version) if there and there.version else None
    if there is None or version is None:
        return None
    mark = RestoredMark.parse(version.fields)
    if mark.recovered or newest.begun_at < mark.point:
        return None
    at = datetime.fromisoformat(str(there.metadata["updated_time"]))
    return EarlierRestore(at) if mark.whole else EarlierRestore(mark.follows, at)


def mark_hub(content: HubContent, newest: Manifest, *, whole: bool, follows: datetime | None = None) -> None:
    """Record the restored backup in the hub, and whether the restore is complete."""
    there = content.find(STATE, RESTORED)
    mark = RestoredMark(newest.chain, newest.sequence, newest.begun_at, content.now(), whole, follows=follows)
    if there is None:
        content.settle(STATE, RESTORED, {"max_versions": 1})
    content.write(STATE, RESTORED, mark.to_data(), cas=there.version if there else 0)


def listing_of(content: HubContent, areas: Mapping[str, str] | list[str]) -> dict[tuple[str, str], ListedEntry]:
    """All entries of the hub in these areas."""
    return {entry.key: entry for area in areas for entry in content.listed(area)}


def _plan_entry(plan: RestorePlan, content: HubContent, present: ListedEntry | None, line: Line) -> None:
    change = change_of(content, present, line, plan.follows)
    plan.counts[change] += 1
    if change in (RestoreChange.NEWER, RestoreChange.OTHER):
        plan.held[line["area"], line["path"]] = change
    elif change is RestoreChange.WRITE:
        plan.writes += (1 if line["area"] == STATE else line["version"] - (present.version if present else 0)) + 2


def _compare_since(since: SinceThen, there: ListedEntry | None, line: Line) -> None:
    """Record what was removed from one secret, before the backup or since."""
    name, held = _name_of(line), {int(version["n"]) for version in line["versions"]}
    if there is None or there.version == 0:
        since.returning.append(name)
        return
    readable = set(undestroyed(there))
    # A backup by an earlier Keyturn has no maximum number of versions.
    oldest = min(held, default=0) if len(held) >= line.get("most", 0) else 0
    unkept = {number for number in readable - held if oldest < number <= line["version"]}
    since.destroyed += [f"{name} version {number}" for number in sorted(unkept)]
    if there.version >= line["version"]:
        listed = {int(number) for number in there.metadata["versions"]}
        since.ended += [f"{name} version {number}" for number in sorted((held & listed) - readable)]


def _name_of(line: Line) -> str:
    return join(mount_name(line["area"]), line["path"])


def change_of(
    content: HubContent, present: ListedEntry | None, line: Line, follows: EarlierRestore | None = None
) -> RestoreChange:
    """What to do with an entry. Versions are compared by number, equal numbers by value.

    Deleted entries of Keyturn's mount are not written. Others there are older where the restore that this one
    ``follows`` wrote them last.
    """
    if present is None or present.version == 0:
        return RestoreChange.WRITE if line["versions"] or line["area"] != STATE else RestoreChange.KEEP
    values: dict[int, Any] = {version["n"]: version["fields"] for version in line["versions"]}
    if line["area"] != STATE and present.version > line["version"]:
        return RestoreChange.NEWER
    there = content.read(line["area"], line["path"], present.version)
    fields = dict(there.fields) if there else None
    if _names_ledger(line) and (fields := _own_name(fields)) is None:
        return RestoreChange.WRITE
    if line["area"] == STATE:
        if values and fields == [*values.values()][-1]:
            return RestoreChange.KEEP
        ours = follows and follows.wrote(present) and not _names_ledger(line)
        return RestoreChange.WRITE if ours else RestoreChange.OTHER
    if present.version == line["version"] and present.version not in values and fields == {}:
        return RestoreChange.WRITE
    if present.version in values and fields is not None and fields != values[present.version]:
        return RestoreChange.OTHER
    return RestoreChange.KEEP if present.version == line["version"] else RestoreChange.WRITE


def _is_wanted(plan: RestorePlan, line: Line) -> bool:
    return line[KIND] != LineKind.ENTRY or (line["area"], line["path"]) not in plan.held


def _write_entry(
    content: HubContent, present: Mapping[tuple[str, str], ListedEntry], line: Line, follows: EarlierRestore | None
) -> int:
    """Write an entry's missing versions and return their number.

    A number without a value is written empty and destroyed, since other records refer to version numbers.
    """
    area, path = line["area"], line["path"]
    there = present.get((area, path))
    at = there.version if there else 0
    if change_of(content, there, line, follows) is not RestoreChange.WRITE:
        return 0
    settings = {name: value for name, value in line["settings"].items() if value is not None}
    if area == STATE:
        return _write_state(content, there, settings, line)
    values = {version["n"]: version["fields"] for version in line["versions"]}
    content.settle(area, path, _with_first_moment(settings, line))
    empty = _left_empty(content, there, line) if there else []
    for number in range(at + 1, line["version"] + 1):
        if number in values:
            content.destroy(area, path, empty)
            empty = []
        else:
            empty.append(number)
        content.write(area, path, values.get(number, {}), cas=number - 1)
    content.destroy(area, path, empty)
    return max(1, int(line["version"]) - at)


def _with_first_moment(settings: Mapping[str, Any], line: Line) -> Mapping[str, Any]:
    """The settings with CURRENT's original creation time, or it would seem newer than its copies."""
    custom = settings.get("custom_metadata") or {}
    newest = line["versions"][-1] if line["versions"] else None
    if not newest or newest["n"] != line["version"] or custom.get(RESTORED_AT, "").startswith(f"{newest['n']} "):
        return settings
    return {**settings, "custom_metadata": {**custom, RESTORED_AT: f"{newest['n']} {newest['at']}"}}


def _left_empty(content: HubContent, there: ListedEntry, line: Line) -> list[int]:
    """The empty versions that an interrupted restore did not destroy."""
    numbers = {version["n"] for version in line["versions"]}
    versions = (content.read(there.area, there.path, n) for n in undestroyed(there) if n not in numbers)
    return [version.number for version in versions if version and not version.fields]


def _write_state(content: HubContent, there: ListedEntry | None, settings: Mapping[str, Any], line: Line) -> int:
    if not line["versions"]:
        return 0
    if there or settings != UNSETTLED:
        content.settle(STATE, line["path"], settings)
    content.write(STATE, line["path"], line["versions"][-1]["fields"], cas=there.version if there else 0)
    return 1


def _names_ledger(line: Line) -> bool:
    """Whether the line names the hub's own ledger, which is written last."""
    return (line.get("area"), line.get("path")) == (STATE, NAMED)


def _named_by(content: HubContent) -> Mapping[str, Any] | None:
    there = content.find(STATE, NAMED)
    version = content.read(STATE, NAMED, there.version) if there and there.version else None
    return version.fields if version else None


def _own_name(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The ledger that the hub named before any restore; None for none."""
    if fields and str(fields.get("origin", "")).startswith(BEING_RESTORED):
        fields = fields.get(OWN)
    return dict(fields) if fields else None


def _write_other(content: HubContent, result: RestoreResult, line: Line) -> None:
    if line[KIND] == LineKind.ENTRY and _names_ledger(line) and line["versions"]:
        result.ledger_name = line["versions"][-1]["fields"]
    elif line[KIND] == LineKind.KEY:
        _write_key(content, result, line)
    elif line[KIND] == LineKind.FILE:
        result.files[line["name"]] = base64.b64decode(line["content"])


def _write_key(content: HubContent, result: RestoreResult, line: Line) -> None:
    """Import a key that the hub lacks. An existing one may be newer, and stays."""
    try:
        content.make_transit()
        if line["name"] not in {key.name for key in content.transit_keys()}:
            content.import_key(line["name"], Sensitive(line["backup"]))
            result.keys.append(line["name"])
    except KeyturnError as error:
        result.faults.append(f"transit key {line['name']}: {error.problem}")


def export_ledger(place: BackupPlace, chain: OpenedChain, entries: IO[bytes], checkpoints: IO[bytes]) -> int:
    """Write the files of `keyturn ledger export`, and return the number of entries."""
    count = 0
    for _, line in read_lines(place, chain.seal, chain.manifests):
        if line[KIND] == LineKind.LEAF:
            entries.write(line["leaf"].encode() + b"\n")
            count += 1
        elif line[KIND] == LineKind.CHECKPOINT and line["note"]:
            checkpoints.write(json.dumps({"checkpoint": line["note"]}).encode() + b"\n")
    return count
