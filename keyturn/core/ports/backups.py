"""Hub backups: structure, and the ports of content, storage and keys.

A complete *base* and *increments* with the changes since the previous one form a *chain*. Each has *parts* and a
*manifest*, written last: without one there is no backup.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from keyturn.core.sensitive import Sensitive

STATE: Final = "state"
"""The area of Keyturn's mount."""
SECRETS: Final = "secrets"
"""The area of the default mount; another mount's adds a colon and its name."""
RESTORED: Final = "restored"
"""State entry with the backup that the hub was restored from."""
NEWEST: Final = 0
"""Requests an entry's newest version."""
LARGEST_OBJECT: Final = 32 << 20
"""Maximum bytes of one backup object."""
CHAIN: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
"""A chain's name: start time and a unique suffix."""


def area_of(mount: str) -> str:
    """The area of the catalogue's mount of this name."""
    return f"{SECRETS}:{mount}" if mount else SECRETS


def mount_name(area: str) -> str:
    """The reverse of :func:`area_of`; empty for the default mount."""
    return area.partition(":")[2]


@dataclass(frozen=True)
class ListedEntry:
    """A listed KV entry; ``digest`` changes with any change."""

    area: str
    path: str
    digest: str
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Its unique key."""
        return self.area, self.path

    @property
    def version(self) -> int:
        """The number of its newest version; 0 if none was written."""
        return int(self.metadata["current_version"])


@dataclass(frozen=True)
class KeptVersion:
    """One version's content; ``created_at`` in the hub's format."""

    number: int
    fields: Mapping[str, Any] = field(repr=False)
    created_at: str = ""


@dataclass(frozen=True)
class TransitKeyInfo:
    """A transit key: ``given`` is whether the hub exports it; a rotation changes ``digest``."""

    name: str
    given: bool
    digest: str


class HubContent(Protocol):
    """Everything a hub stores for Keyturn, for backup and restore. Serves many threads.

    Areas are :data:`STATE` and those of :func:`area_of`. Methods raise Denied and Unavailable.
    """

    areas: Mapping[str, str]
    """The areas with their mounts; Keyturn's mount comes first."""
    address: str
    """The hub's address."""

    def listed(self, area: str) -> Iterator[ListedEntry]:
        """All entries. Raises Invalid if not a KV v2 mount, so an error never looks like absence."""

    def find(self, area: str, path: str) -> ListedEntry | None:
        """Return one entry; None if absent."""

    def read(self, area: str, path: str, version: int) -> KeptVersion | None:
        """One version or the :data:`NEWEST`; None if deleted, destroyed or absent."""

    def write(self, area: str, path: str, fields: Mapping[str, Any], *, cas: int) -> int:
        """Write the version after ``cas`` and return its number. Raises Conflict."""

    def destroy(self, area: str, path: str, versions: Sequence[int]) -> None:
        """Remove the values of these versions permanently."""

    def settle(self, area: str, path: str, metadata: Mapping[str, Any]) -> None:
        """Set an entry's version count, retention and custom metadata."""

    def remove(self, area: str, path: str) -> None:
        """Remove an entry with all versions. Absent is success."""

    def other_mounts(self) -> Sequence[str]:
        """KV mounts that are not areas, as the hub lists them. Raises Denied."""

    def transit_keys(self) -> Sequence["TransitKeyInfo"]:
        """The transit keys; empty without a transit engine."""

    def export_key(self, name: str) -> Sensitive:
        """Return a backup of the key with all versions."""

    def import_key(self, name: str, backup: Sensitive) -> None:
        """Restore a key from its backup. Raises Conflict if the name exists."""

    def has_mount(self, area: str) -> bool:
        """Whether the area's mount exists. Raises Invalid if not KV v2."""

    def is_mounted(self, path: str) -> bool:
        """Whether this exact path is a visible KV v2 mount."""

    def make_mount(self, area: str) -> None:
        """Ensure that the area's mount exists and is writable."""

    def make_transit(self) -> None:
        """Ensure that a transit engine exists."""

    def unmount_transit(self) -> None:
        """Remove the transit engine with its keys. Absent is success."""

    def unmount(self, area: str) -> None:
        """Remove the area's mount with its content. Absent is success."""

    def now(self) -> datetime:
        """The hub's time."""


@dataclass(frozen=True)
class StoredObject:
    """A stored object. ``retained_until`` ends its retention lock; None without one."""

    name: str
    size: int
    changed_at: datetime
    retained_until: datetime | None = None


class BackupPlace(Protocol):
    """Storage for backups: a bucket, a container, a directory. Serves many threads. Names have letters, digits and -./

    Methods raise Denied, Unavailable and Throttled, and Invalid for unusable settings.
    """

    name: str
    """For people: ``s3://bucket/prefix``."""

    def put(self, name: str, content: bytes) -> None:
        """Create an object, with retention if configured. Raises Conflict if it exists."""

    def get(self, name: str) -> bytes:
        """Return an object's content. Raises NotFound, and Invalid above LARGEST_OBJECT."""

    def find(self, name: str) -> StoredObject | None:
        """Describe one object; None if absent."""

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        """Objects with this prefix, sorted by name; ``retained_until`` may be missing."""

    def remove(self, name: str) -> None:
        """Remove an object. Absent is success. Raises Locked while it is retained."""


class BackupSeal(Protocol):
    """The content key of one chain. Serves many threads."""

    header: Mapping[str, Any]
    """What opens it again, without secrets: the wrapping keys and methods."""

    def encrypt(self, label: str, content: bytes) -> bytes:
        """Encrypt the content for this label, which must not be reused."""

    def decrypt(self, label: str, sealed: bytes) -> bytes:
        """Decrypt content sealed under this label. Raises SealRefused."""


class BackupKeys(Protocol):
    """The keys that wrap content keys; any one opens a backup."""

    def make(self, context: Mapping[str, str]) -> BackupSeal:
        """A new content key, wrapped by every key. Raises their errors."""

    def open(self, header: Mapping[str, Any], context: Mapping[str, str]) -> BackupSeal:
        """The header's content key, unwrapped by the first key that can. Raises SealRefused."""


@dataclass(frozen=True)
class LedgerPoint:
    """The ledger's position: name, number of entries and newest checkpoint."""

    origin: str = ""
    size: int = 0
    checkpoint: str = ""


@dataclass(frozen=True)
class PartInfo:
    """One part: object name in the chain, bytes, and SHA-256 as stored."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A backup's description. ``begun_at`` is the recovery point: all earlier changes are included.

    ``sequence`` is 0 for a base. ``parent`` is the previous manifest's SHA-256 as stored. ``areas`` maps areas to
    mounts. ``missing`` is what the hub does not export. ``generation`` is the key of the fingerprints in it. Times are
    the hub's.
    """

    chain: str
    sequence: int
    attempt: str
    parent: str
    begun_at: datetime
    made_at: datetime
    workspace: str
    keyturn: str
    areas: Mapping[str, str]
    counts: Mapping[str, int]
    parts: tuple[PartInfo, ...]
    ledger: LedgerPoint = LedgerPoint()
    missing: tuple[str, ...] = ()
    generation: int = 1

    @property
    def name(self) -> str:
        """For people: the chain's name and the number in it."""
        return f"{self.chain}/{self.sequence}"
