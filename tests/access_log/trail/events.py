"""Records for tests of the trail."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from keyturn.access_log.trail.layout import Segment, StoredFile
from keyturn.access_log.trail.parquet import write_segment
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceRecord

NOON: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)


def access(at: datetime = NOON, path: str = "ml/db", principal: str = "approle trainer", **rest: Any) -> Access:
    fields = {"system": "hub", "version": 3, "source": "10.0.0.1", "login": "4be1", "agent": "curl/8", **rest}
    return Access(at=at, path=path, principal=principal, **fields)


def records(accesses: Sequence[Access], file: str = "audit.log") -> list[SourceRecord]:
    """Each with a digest and a position of its own."""
    return [
        SourceRecord(access, hashlib.sha256(f"{file}:{line}:{access}".encode()).digest(), f"{file}:{line}")
        for line, access in enumerate(accesses)
    ]


def segment(number: int, accesses: Sequence[Access] = (), sealed: datetime | None = None, **rest: Any) -> Segment:
    moments = [access.at for access in accesses]
    first, last = min(moments, default=None), max(moments, default=None)
    sealed = sealed or NOON + timedelta(minutes=number)
    return Segment(number, sealed, len(accesses), first, last, head=f"the head of {number}", **rest)


def write(directory: Path, number: int, accesses: Sequence[Access], source: str = "hub", **rest: Any) -> StoredFile:
    return write_segment(directory, source, segment(number, accesses, **rest), records(accesses))
