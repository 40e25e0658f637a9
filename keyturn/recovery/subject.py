"""What is backed up: the hub's content with fingerprints, the ledger and the catalogue's files."""

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from keyturn.core.errors import Denied
from keyturn.core.fingerprint import Fingerprint, payload
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.mounts import join
from keyturn.core.ports.backups import (
    RESTORED,
    STATE,
    HubContent,
    KeptVersion,
    LedgerPoint,
    ListedEntry,
    TransitKeyInfo,
    mount_name,
)
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.ports import StoredLedger
from keyturn.recovery.lines import LineKind, backup_line, entry_line

READ_AT_ONCE: Final = 16
WINDOW: Final = 256
"""Entries whose values are in memory at once, plus running parts."""
SETTINGS: Final = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")
"""The metadata fields of an entry that are kept."""
PASSING: Final = ("quiet/", "limits/", "serve/", "numbers/", RESTORED)
"""Paths in Keyturn's mount that are left out: disposable data and leases."""
MOST_MOUNTS: Final = 20
"""The most mounts that are named."""
INCLUDE: Final = "To have them in it, name them under `mounts:` in the catalogue"
RIGHT: Final = "Give the login the policy that `keyturn setup hub --apply` writes for backups"
LASTING: Final = ("serve/cursors/", "serve/judged/", "serve/told")
"""The exceptions to PASSING, which are kept."""


@dataclass(frozen=True)
class BackupSubject:
    """What is backed up. ``versions`` is the number of newest readable versions per secret."""

    content: HubContent
    fingerprint_keys: Callable[[], FingerprintKeys]
    ledger: StoredLedger | None = None
    files: Callable[[], Mapping[str, bytes]] = dict
    workspace: str = "default"
    versions: int = 2


@dataclass
class Known:
    """A chain's content so far, in digests and numbers, so that the next backup has only changes."""

    entries: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ledger: LedgerPoint = field(default_factory=LedgerPoint)


@dataclass
class Look:
    """One pass over the subject: changes since ``before``, and the state ``now``."""

    subject: BackupSubject
    before: Known
    now: Known = field(default_factory=Known)
    counts: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[bytes]:
        """Everything that has changed.

        Records come before their secrets. So a backup during a promotion looks like a crash, which the next run
        finishes.
        """
        self.subject.fingerprint_keys()  # created, where missing, before they are listed
        yield from self._keys()
        self.missing += unnamed_mounts(self.subject.content)
        for area in self.subject.content.areas:
            yield from self._entries(area)
        yield from (self._removed(*key) for key in self.before.entries.keys() - self.now.entries.keys())
        yield from self._files()
        yield from self._ledger()

    def _entries(self, area: str) -> Iterator[bytes]:
        listed = (entry for entry in self.subject.content.listed(area) if entry.version and not passing(entry))
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            while window := list(islice(listed, WINDOW)):
                self.now.entries |= {entry.key: entry.digest for entry in window}
                changed = [entry for entry in window if self.before.entries.get(entry.key) != entry.digest]
                self.counts["state" if area == STATE else "secrets"] += len(changed)
                yield from pool.map(self._entry, changed)

    def _entry(self, entry: ListedEntry) -> bytes:
        newest = list(islice(self._versions(entry), self.subject.versions))
        settings = {name: entry.metadata.get(name) for name in SETTINGS}
        return entry_line(
            entry,
            settings,
            [(version, self._fingerprint(entry, version)) for version in reversed(newest)],
            self.subject.versions,
        )

    def _versions(self, entry: ListedEntry) -> Iterator[KeptVersion]:
        """The readable versions, newest first. Only a read shows which are deleted."""
        for number in undestroyed(entry):
            if version := self.subject.content.read(entry.area, entry.path, number):
                yield version

    def _fingerprint(self, entry: ListedEntry, version: KeptVersion) -> str:
        return str(fingerprint_with(self.subject.fingerprint_keys(), entry.area, entry.path, version))

    def _removed(self, area: str, path: str) -> bytes:
        self.counts["removed"] += 1
        return backup_line(LineKind.REMOVED, area=area, path=path)

    def _keys(self) -> Iterator[bytes]:
        for key in self.subject.content.transit_keys():
            self.now.keys[key.name] = key.digest
            if not key.given:
                self.missing.append(f"transit key {key.name}: it is not exportable, or allows no backup")
            elif self.before.keys.get(key.name) != key.digest:
                yield self._key(key)

    def _key(self, key: TransitKeyInfo) -> bytes:
        self.counts["keys"] += 1
        return backup_line(LineKind.KEY, name=key.name, backup=self.subject.content.export_key(key.name).reveal())

    def _files(self) -> Iterator[bytes]:
        self.now.files = dict(self.subject.files())
        for name, content in self.now.files.items():
            if self.before.files.get(name) != content:
                self.counts["files"] += 1
                yield backup_line(LineKind.FILE, name=name, content=base64.b64encode(content).decode())

    def _ledger(self) -> Iterator[bytes]:
        """The checkpoint first: the entries that it covers are read later."""
        if (ledger := self.subject.ledger) is None:
            return
        checkpoint, size = ledger.newest(), self.before.ledger.size
        if checkpoint != self.before.ledger.checkpoint:
            yield backup_line(LineKind.CHECKPOINT, note=checkpoint)
        for number, leaf in ledger.leaves(size + 1):
            size = number
            yield backup_line(LineKind.LEAF, n=number, leaf=leaf.decode())
        self.counts["ledger"] += size - self.before.ledger.size
        self.now.ledger = LedgerPoint(ledger.origin, size, checkpoint)


def unnamed_mounts(content: HubContent) -> list[str]:
    """The hub's KV mounts without backups, in one line, or why they are unknown."""
    try:
        mounts = content.other_mounts()
    except Denied as error:
        return [f"unknown whether the hub has other KV mounts: {error.problem}. {RIGHT}"]
    if not mounts:
        return []
    more = f" and {len(mounts) - MOST_MOUNTS} more" if len(mounts) > MOST_MOUNTS else ""
    return [f"KV mounts that the catalogue does not name: {', '.join(mounts[:MOST_MOUNTS])}{more}. {INCLUDE}"]


def passing(entry: ListedEntry) -> bool:
    """Whether an entry of Keyturn's mount is left out."""
    return entry.area == STATE and entry.path.startswith(PASSING) and not entry.path.startswith(LASTING)


def undestroyed(entry: ListedEntry) -> list[int]:
    """The numbers of versions that are not destroyed, newest first."""
    versions: Mapping[str, Mapping[str, object]] = entry.metadata["versions"]
    return sorted((int(number) for number, version in versions.items() if not version.get("destroyed")), reverse=True)


def fingerprint_with(keys: FingerprintKeys, area: str, path: str, version: KeptVersion) -> Fingerprint:
    """The fingerprint of a version, as elsewhere in Keyturn."""
    name = f"{STATE} {path}" if area == STATE else join(mount_name(area), path)
    return keys.make(name, payload(SecretFields(version.fields)))
