"""Backups of the hub: what they consist of, and the ports of what is backed up, where it lies and by whose key.

A backup is a *base*, which has everything, and *increments*, each with what has changed since the one before: together
a *chain*. Each of them is some *parts*, and a *manifest*, which is written last: without one there is no backup.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from keyturn.core.sensitive import Sensitive

STATE: Final = "state"
"""The area of Keyturn's own mount."""
SECRETS: Final = "secrets"
"""The area of the default mount of secrets; another mount's is this with a colon and its name behind it."""
RESTORED: Final = "restored"
"""The entry of Keyturn's own mount that says from which backup the hub was restored."""
NEWEST: Final = 0
"""Stands for the number of an entry's newest version, where one is asked for."""
LARGEST_OBJECT: Final = 32 << 20
"""Bytes of one object of a backup."""
CHAIN: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
"""What a chain is called: the moment at which it was begun, and something that tells it from others of that second."""


def area_of(mount: str) -> str:
    """The area of the mount of secrets that has this name in the catalogue."""
    return f"{SECRETS}:{mount}" if mount else SECRETS


def mount_name(area: str) -> str:
    """The other way; the default mount's is empty."""
    return area.partition(":")[2]


@dataclass(frozen=True)
class ListedEntry:
    """An entry of a KV mount as its listing tells it: ``digest`` is another once anything of it has changed."""

    area: str
    path: str
    digest: str
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Tells it from all others."""
        return self.area, self.path

    @property
    def version(self) -> int:
        """The number of its newest version; 0 where nobody has written one yet."""
        return int(self.metadata["current_version"])


@dataclass(frozen=True)
class KeptVersion:
    """One version's content; ``created_at`` as the hub spells it."""

    number: int
    fields: Mapping[str, Any] = field(repr=False)
    created_at: str = ""


@dataclass(frozen=True)
class TransitKeyInfo:
    """A key of the transit engine: whether the hub gives a backup of it, and what is another once it was rotated."""

    name: str
    given: bool
    digest: str


class HubContent(Protocol):
    """All that a hub holds for Keyturn, as it lies there: for whoever backs it up or restores it. Serves many threads.

    Areas are :data:`STATE` and those of :func:`area_of`. All of it raises Denied and Unavailable.
    """

    areas: Mapping[str, str]
    """The areas, and where each is mounted; Keyturn's own mount is the first."""
    address: str
    """Where this hub is."""

    def listed(self, area: str) -> Iterator[ListedEntry]:
        """Everything there. Raises Invalid for what is no KV v2 mount: nothing is taken for absent that is not."""

    def find(self, area: str, path: str) -> ListedEntry | None:
        """One entry; None where there is none."""

    def read(self, area: str, path: str, version: int) -> KeptVersion | None:
        """One version, or the :data:`NEWEST`; None where it is deleted or destroyed, or nothing is there."""

    def write(self, area: str, path: str, fields: Mapping[str, Any], *, cas: int) -> int:
        """Write the version behind ``cas`` and return its number. Raises Conflict where another is the newest."""

    def destroy(self, area: str, path: str, versions: Sequence[int]) -> None:
        """Remove the values of these versions for good."""

    def settle(self, area: str, path: str, metadata: Mapping[str, Any]) -> None:
        """Give an entry its settings: how many versions are kept and how long, and the custom metadata."""

    def remove(self, area: str, path: str) -> None:
        """Remove an entry with all that is kept of it. Absent is success."""

    def other_mounts(self) -> Sequence[str]:
        """The KV mounts of the hub that are none of the areas, each as the hub lists it. Raises Denied."""

    def transit_keys(self) -> Sequence["TransitKeyInfo"]:
        """The keys of the transit engine; none without one."""

    def export_key(self, name: str) -> Sensitive:
        """A backup of such a key, with all its versions."""

    def import_key(self, name: str, backup: Sensitive) -> None:
        """The key as the backup has it. Raises Conflict where there is one of that name."""

    def has_mount(self, area: str) -> bool:
        """Whether there is a mount for an area. Raises Invalid where it is something else than KV v2."""

    def is_mounted(self, path: str) -> bool:
        """Whether the hub has a KV v2 mount at just this path, and this login may see it."""

    def make_mount(self, area: str) -> None:
        """Have such a mount, ready to be written."""

    def make_transit(self) -> None:
        """Have a transit engine."""

    def unmount_transit(self) -> None:
        """Remove the transit engine with its keys. Absent is success."""

    def unmount(self, area: str) -> None:
        """Remove the mount of an area with all that it holds. Absent is success."""

    def now(self) -> datetime:
        """The time by this hub's clock."""


@dataclass(frozen=True)
class StoredObject:
    """An object of a place. ``retained_until`` is until when nobody can remove it; None where anybody may who may."""

    name: str
    size: int
    changed_at: datetime
    retained_until: datetime | None = None


class BackupPlace(Protocol):
    """Where backups lie: a bucket, a container, a directory. Serves many threads. Names have letters, digits and -./

    All of it raises Denied, Unavailable and Throttled, and Invalid for settings that can't work.
    """

    name: str
    """For people: ``s3://bucket/prefix``."""

    def put(self, name: str, content: bytes) -> None:
        """Write an object where there is none yet, and retain it where the settings say so. Raises Conflict."""

    def get(self, name: str) -> bytes:
        """An object's content. Raises NotFound, and Invalid for one beyond LARGEST_OBJECT."""

    def find(self, name: str) -> StoredObject | None:
        """What is told of one object; None where there is none."""

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        """What there is whose names begin so, in the order of the names. ``retained_until`` may be left out here."""

    def remove(self, name: str) -> None:
        """Remove an object. Absent is success. Raises Locked for one that is retained."""


class BackupSeal(Protocol):
    """The content key of one chain. Serves many threads."""

    header: Mapping[str, Any]
    """What opens it again, without a secret: by which keys it is wrapped, and how."""

    def encrypt(self, label: str, content: bytes) -> bytes:
        """The content, which opens under this very label alone. No label is used twice."""

    def decrypt(self, label: str, sealed: bytes) -> bytes:
        """What was sealed under this label. Raises SealRefused."""


class BackupKeys(Protocol):
    """The keys that wrap the content keys of backups, each of which opens them alone."""

    def make(self, context: Mapping[str, str]) -> BackupSeal:
        """A content key that nobody has used, wrapped by every one of the keys. Raises what these raise."""

    def open(self, header: Mapping[str, Any], context: Mapping[str, str]) -> BackupSeal:
        """The one that the header tells, by the first key that can unwrap it. Raises SealRefused where none can."""


@dataclass(frozen=True)
class LedgerPoint:
    """How far the ledger was: its name, how many entries, and its newest checkpoint."""

    origin: str = ""
    size: int = 0
    checkpoint: str = ""


@dataclass(frozen=True)
class PartInfo:
    """One part: the object's name within its chain, its bytes, and the SHA-256 of what lies there."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. ``begun_at`` is the recovery point: what was changed before then is in it.

    ``sequence`` is 0 for a base, ``parent`` the SHA-256 of the manifest before it, as it lies there. ``areas`` tells
    where everything was mounted, ``counts`` how much there is of what, ``missing`` what the hub has and gives nobody,
    ``generation`` under which of the hub's keys the fingerprints in it were made. Times are the hub's.
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
        """For people: the chain's name, and the number in it."""
        return f"{self.chain}/{self.sequence}"
