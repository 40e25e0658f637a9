"""Read the records of many secrets in few requests, by skipping quiet ones.

A record is quiet while nothing in it is open, pending or held. The hub remembers the version and time of quiet
records. A record is read where the listing shows another version, and once a day, so lost or outdated memory hides
nothing.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import SecretInfo, Survey, VersionInfo, survey
from keyturn.core.rotation_record import Record, Stage
from keyturn.rotation.candidates import ROTATIONS
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record

QUIET: Final = "quiet"
"""Path in the hub's state: a few entries, each with a part of all secrets."""

PARTS: Final = 16
"""For 10,000 secrets, about 600 each; a hub entry holds a megabyte."""

APART: Final = timedelta(hours=1.5)
"""Time between the daily readings of two parts."""

AT_ONCE: Final = 8

FEW: Final = 16
"""Up to this number, secrets are read one by one; listings cover the whole hub."""


@dataclass(frozen=True)
class Acknowledged:
    """Who acknowledged the last rotation, and which version it promoted."""

    version: int
    consumers: tuple[str, ...]


Remembered = tuple[int, str, Acknowledged | None]
"""A record's version, its write time, and the last acknowledgements, if any."""


@contextmanager
def list_secrets(workspace: Workspace, secrets: int) -> Iterator["Listing | None"]:
    """The hub's listings, for that many ``secrets``; None for a few, which are read one by one.

    Saves the quiet records at the end.
    """
    if secrets <= FEW:
        yield None
        return
    listing = Listing(workspace, survey(workspace.hub))
    yield listing
    listing.remember()


@contextmanager
def listed_records(workspace: Workspace, secrets: int) -> Iterator[Callable[[str], Record]]:
    """A function that returns a secret's record, for that many ``secrets``."""
    if secrets <= FEW:
        yield lambda path: load_record(workspace, path)
        return
    listing = Listing(workspace, Survey())
    yield listing.load
    listing.remember()


class Listing:
    """The listings of all secrets at one moment: metadata and records, without values. Shared by threads.

    ``records`` is the newest version of each secret's record; None where the hub does not list versions.
    """

    def __init__(self, workspace: Workspace, secrets: Survey) -> None:
        self._secrets = secrets
        self._workspace = workspace
        self.records = workspace.hub.newest_states(ROTATIONS)
        self._days = {part: (workspace.clock() - part * APART).date().isoformat() for part in range(PARTS)}
        self._before = self._remembered() if self.records else {}
        self._now: dict[str, Remembered] = {}

    def info(self, path: str) -> SecretInfo | None:
        """The hub's data on a secret; None where it is absent. Raises why its mount can't be read."""
        if error := self._secrets.error(path):
            raise error
        return self._secrets.get(path)

    def load(self, path: str, *, whole: bool = False) -> Record:
        """The secret's record; only its version for a quiet one, unless ``whole``. Raises as reading one does."""
        if self.records is None:
            return load_record(self._workspace, path)
        newest = self.records.get(path)
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
        """Who acknowledged the last rotation of a loaded secret; None where there was none."""
        remembered = self._now.get(path)
        return remembered[2] if remembered else acknowledged(record)

    def remember(self) -> None:
        """Save which records were quiet, where that changed. A refused or late write is dropped."""
        if self.records is not None:
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
        """One part's records of today; empty where it is older or unreadable."""
        try:
            state = self._workspace.hub.read_state(f"{QUIET}/{part}")
            if state is None or state.data.get("of") != self._days[part]:
                return {}
            return {path: _kept(data) for path, data in json.loads(state.data["quiet"]).items()}
        except (KeyturnError, ValueError, TypeError, KeyError, AttributeError):
            return {}


def is_quiet(record: Record) -> bool:
    """Whether readers need nothing from the record but the acknowledgements."""
    return record.rotation is None and not record.frozen and record.rest is None and not record.refusals


def acknowledged(record: Record) -> Acknowledged | None:
    """Who acknowledged the retiring or last retired rotation; None where there is none."""
    promoted = record.retiring or next((past for past in reversed(record.history) if past.stage is Stage.RETIRED), None)
    return Acknowledged(promoted.version or 0, promoted.acknowledged) if promoted else None


def _stamp(newest: VersionInfo) -> tuple[int, str]:
    return newest.version, newest.created_at.isoformat()


def _plain(record: Remembered) -> list[Any]:
    version, written, heard = record
    return [version, written, [heard.version, *heard.consumers] if heard else None]


def _kept(data: Any) -> Remembered:
    """The reverse of :func:`_plain`. Raises ValueError, TypeError for other data, such as of an older release."""
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
