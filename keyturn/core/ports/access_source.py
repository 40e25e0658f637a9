"""The port of a log that is read as it grows: what came since a cursor, and the cursor to go on from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from msgspec import Struct

from keyturn.core.ports.access import Access
from keyturn.core.text.audit_lines import AuditMount


class SourceRecord(Struct, frozen=True, gc=False, omit_defaults=True):
    """One record of a log that tells of an access.

    ``digest`` is the SHA-256 of the record's own bytes, without the end of its line; ``position`` says where it stands,
    for people, such as ``audit.log:182033``.
    """

    access: Access
    digest: bytes
    position: str


@dataclass(frozen=True)
class Malformed:
    """A record that could not be read: where it stands, why, and its first bytes, which are kept aside."""

    position: str
    problem: str
    record: bytes


@dataclass(frozen=True)
class Batch:
    """What a log told since a cursor.

    ``cursor`` leads behind it: a text of at most 8 KiB that its source alone understands. ``lines`` counts every
    record that was looked at, whether it tells of an access or not, ``first`` and ``last`` are the positions of the
    outer ones (empty without any), ``digest`` is the SHA-256 of all of them in their order, each with a line feed
    behind it. ``gaps`` says in words what is missing before or in it, such as a file that was cut. ``more`` says that
    there is more to read at once.
    """

    cursor: str
    records: Sequence[SourceRecord] = ()
    lines: int = 0
    first: str = ""
    last: str = ""
    digest: bytes = b""
    malformed: Sequence[Malformed] = ()
    gaps: Sequence[str] = ()
    more: bool = False


class AccessSource(Protocol):
    """One log. ``name`` is the same for good: cursors and segments of the trail go by it.

    ``pace`` is how many seconds to wait where there was no more.
    """

    name: str
    pace: float

    def read(self, cursor: str | None, limit: int) -> Batch:
        """What came after ``cursor``, at most ``limit`` records, in the log's own order. None begins at its oldest.

        The same cursor over the same log gives the same records: who dies before the cursor is durable reads them
        again. Raises Unavailable where the log can't be read now, and Invalid for a cursor that is none of its own.
        """

    def close(self) -> None:
        """Let go of it."""


@runtime_checkable
class TellsTrouble(Protocol):
    """A log that is sent here."""

    @property
    def trouble(self) -> str:
        """What keeps it from taking what comes, in words; empty where nothing does."""


@runtime_checkable
class ReleasesRead(Protocol):
    """A log of this machine's own, which it holds until it was taken."""

    def release(self, cursor: str) -> None:
        """What stands before ``cursor`` is durable elsewhere, and so is the cursor: it may be dropped here."""


@dataclass(frozen=True)
class StoreCopies:
    """A store, and the copies in it.

    ``system`` is what tells it from every other (its kind, and then a region, a vault, a project or a namespace),
    ``paths`` lead from a copy's name there to its secret's path in the hub.
    """

    name: str
    system: tuple[str, ...]
    paths: Mapping[str, str]


@dataclass(frozen=True)
class SourceOpening:
    """What every source is opened with, besides its own settings.

    ``name`` and ``pace`` are those of the source, ``mount`` is where the secrets lie in the hub, ``directory`` is where
    it may keep files of its own, which need not be there yet. ``stores`` gives the stores that copies are in.
    """

    name: str
    pace: float
    mount: AuditMount
    directory: str
    stores: Callable[[], Sequence[StoreCopies]] = tuple
