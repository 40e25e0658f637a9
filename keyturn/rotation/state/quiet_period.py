"""The records of many secrets in as few requests as the hub allows: one that is quiet is not read at every look.

A record is quiet while nothing is open in it, nothing waits for its end and nobody holds it. Which ones were, is
remembered in the hub, each by the number and the time of the version that was read. A listing tells the newest version
of every record: where it is still that one nothing can have changed, and any other is read. So what is remembered may
be lost, or old, and hides nothing. All the same each record is read once a day.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import SecretInfo, Survey, VersionInfo, survey
from keyturn.core.record import Record, Stage
from keyturn.rotation.candidates import ROTATIONS
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.records import load_record

QUIET: Final = "quiet"
"""Where it is remembered in the hub's state: a few entries, each with a part of all secrets."""

PARTS: Final = 16
"""Some 600 secrets in each of 10,000; an entry of the hub holds a megabyte."""

APART: Final = timedelta(hours=1.5)
"""Between the times of day at which the parts are read anew."""

AT_ONCE: Final = 8

FEW: Final = 16
"""So many secrets are looked at one by one: the listings tell of all that the hub has."""


@dataclass(frozen=True)
class Acknowledged:
    """Who acknowledged the last rotation, and which version it has put in force."""

    version: int
    consumers: tuple[str, ...]


Remembered = tuple[int, str, Acknowledged | None]
"""A record's version, when it was written, and who acknowledged the last rotation; None where there was none."""


@contextmanager
def list_secrets(workspace: Workspace, secrets: int) -> Iterator["Listing | None"]:
    """The hub's listings, for a look at that many ``secrets``; None for a few, which are asked for one by one.

    Which records were seen to be quiet is remembered at the end.
    """
    if secrets <= FEW:
        yield None
        return
    listing = Listing(workspace, survey(workspace.hub))
    yield listing
    listing.remember()


@contextmanager
def listed_records(workspace: Workspace, secrets: int) -> Iterator[Callable[[str], Record]]:
    """What gives the record of each of so many ``secrets``, for a look that asks for nothing else."""
    if secrets <= FEW:
        yield lambda path: load_record(workspace, path)
        return
    listing = Listing(workspace, Survey())
    yield listing.load
    listing.remember()


class Listing:
    """What listings tell of all secrets at one moment: metadata without values, and the records. Shared by threads."""

    def __init__(self, workspace: Workspace, secrets: Survey) -> None:
        self._secrets = secrets
        self._workspace = workspace
        self._newest = workspace.hub.newest_states(ROTATIONS)
        self._days = {part: _day(workspace.clock(), part) for part in range(PARTS)}
        self._before = self._remembered() if self._newest else {}
        self._now: dict[str, Remembered] = {}

    def info(self, path: str) -> SecretInfo | None:
        """What the hub tells of a secret; None where it is absent. Raises why its mount can't be read."""
        if error := self._secrets.error(path):
            raise error
        return self._secrets.get(path)

    def load(self, path: str, *, whole: bool = False) -> Record:
        """The secret's record, or what a look needs of a quiet one: its version. Raises as reading one does.

        The ``whole`` record is read in any case.
        """
        if self._newest is None:
            return load_record(self._workspace, path)
        newest = self._newest.get(path)
        if newest is None:
            return Record()
        remembered = self._before.get(path)
        if remembered and remembered[:2] == _stamp(newest) and newest.readable and not whole:
            self._now[path] = remembered
            return Record(version=newest.version)
        record = load_record(self._workspace, path)
        if is_quiet(record) and record.version == newest.version:
            self._now[path] = (*_stamp(newest), acknowledged(record))
        return record

    def acknowledged(self, path: str, record: Record) -> Acknowledged | None:
        """Who acknowledged the last rotation of a secret whose record was loaded here; None where there was none."""
        remembered = self._now.get(path)
        return remembered[2] if remembered else acknowledged(record)

    def remember(self) -> None:
        """Keep which records were quiet, where that is news. Whoever may not write, or comes second, lets it be."""
        if self._newest is not None:
            before, now = _parted(self._before), _parted(self._now)
            changed = [part for part in range(PARTS) if before[part] != now[part]]
            side_by_side(lambda part: self._keep(part, now[part]), changed, AT_ONCE)

    def _keep(self, part: int, records: Mapping[str, Remembered]) -> None:
        hub, place = self._workspace.hub, f"{QUIET}/{part}"
        try:
            state = hub.read_state(place)
            plain = {path: _plain(record) for path, record in records.items()}
            data = {"of": self._days[part], "quiet": json.dumps(plain, separators=(",", ":"))}
            hub.write_state(place, data, cas=state.version if state else 0)
        except KeyturnError:
            return

    def _remembered(self) -> dict[str, Remembered]:
        parts = side_by_side(self._read, range(PARTS), AT_ONCE)
        return {path: record for part in parts for path, record in part.items()}

    def _read(self, part: int) -> dict[str, Remembered]:
        """What one part holds of today; nothing where it is older, or can't be read."""
        try:
            state = self._workspace.hub.read_state(f"{QUIET}/{part}")
            if state is None or state.data.get("of") != self._days[part]:
                return {}
            return {path: _kept(data) for path, data in json.loads(state.data["quiet"]).items()}
        except (KeyturnError, ValueError, TypeError, KeyError, AttributeError):
            return {}


def is_quiet(record: Record) -> bool:
    """Whether all that a look asks of the record is who acknowledged."""
    return record.rotation is None and not record.frozen and record.rest is None and not record.refusals


def acknowledged(record: Record) -> Acknowledged | None:
    """Who acknowledged the rotation that is retiring, or the last one that was retired; None where there is none."""
    promoted = record.retiring or next((past for past in reversed(record.history) if past.stage is Stage.RETIRED), None)
    return Acknowledged(promoted.version or 0, promoted.acknowledged) if promoted else None


def _stamp(newest: VersionInfo) -> tuple[int, str]:
    return newest.version, newest.created_at.isoformat()


def _plain(record: Remembered) -> list[Any]:
    version, written, heard = record
    return [version, written, [heard.version, *heard.consumers] if heard else None]


def _kept(data: Any) -> Remembered:
    """The reverse. Raises ValueError, TypeError for what it can't be, as where an older release has kept it."""
    version, written, heard = data
    if heard is None:
        return int(version), str(written), None
    of, *consumers = heard
    return int(version), str(written), Acknowledged(int(of), tuple(map(str, consumers)))


def _parted(records: Mapping[str, Remembered]) -> dict[int, dict[str, Remembered]]:
    parts: dict[int, dict[str, Remembered]] = defaultdict(dict)
    for path, record in records.items():
        parts[zlib.crc32(path.encode()) % PARTS][path] = record
    return parts


def _day(now: datetime, part: int) -> str:
    """The day that it is for this part, which begins at a time of its own."""
    return (now - part * APART).date().isoformat()
