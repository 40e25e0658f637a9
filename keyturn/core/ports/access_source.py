"""The port of a growing log: records since a cursor, and the next cursor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from msgspec import Struct

from keyturn.core.ports.access import Access
from keyturn.core.text.audit_lines import AuditMount


class SourceRecord(Struct, frozen=True, gc=False, omit_defaults=True):
    """One log record of an access.

    ``digest`` is the record's SHA-256 without the line end; ``position`` is such as ``audit.log:182033``.
    """

    access: Access
    digest: bytes
    position: str


@dataclass(frozen=True)
class Malformed:
    """An unreadable record: position, reason, and its first bytes, which are kept."""

    position: str
    problem: str
    record: bytes


@dataclass(frozen=True)
class Batch:
    """A log's records since a cursor.

    ``cursor`` is the end: a text of at most 8 KiB that only its source understands. ``lines`` counts every record, not
    only accesses. ``first`` and ``last`` are positions, empty without records. ``digest`` is the SHA-256 of all
    records, each with a line feed. ``gaps`` describes what is missing, such as a truncated file. ``more`` can be read
    immediately.
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
    """One log. Cursors and trail segments refer to its permanent ``name``.

    ``pace`` is the wait in seconds after the last record.
    """

    name: str
    pace: float

    def read(self, cursor: str | None, limit: int) -> Batch:
        """At most ``limit`` records after ``cursor`` in the log's order; None starts at the oldest.

        Repeatable: a process that dies before its cursor is durable reads the same again. Raises Unavailable, and
        Invalid for a foreign cursor.
        """

    def close(self) -> None:
        """Release it."""


@runtime_checkable
class TellsTrouble(Protocol):
    """Capability of a log that is sent here."""

    @property
    def trouble(self) -> str:
        """What prevents it from receiving, for people; empty if nothing."""


@runtime_checkable
class ReleasesRead(Protocol):
    """Capability of a local log that is kept until it was processed."""

    def release(self, cursor: str) -> None:
        """Allow removal of records before ``cursor``: all is durable elsewhere."""


@dataclass(frozen=True)
class StoreCopies:
    """A store and its copies.

    ``system`` identifies it (kind, then region, vault, project or namespace). ``paths`` maps copies to hub paths.
    """

    name: str
    system: tuple[str, ...]
    paths: Mapping[str, str]


@dataclass(frozen=True)
class SourceOpening:
    """Arguments for opening a source, in addition to its settings.

    ``mount`` holds the hub's secrets. ``directory`` is for the source's files and may not exist. ``stores`` returns
    those with copies.
    """

    name: str
    pace: float
    mount: AuditMount
    directory: str
    stores: Callable[[], Sequence[StoreCopies]] = tuple
