"""What the trail remembers of a source, so that a restarted detector knows what it knew before.

The last days are read event by event. For earlier weeks, the rules require only the first and last granted read per
principal and place, and active days and hours. The query returns the first and last such read of each, and one per day
and hour. It also returns what each principal deleted or destroyed on each day.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.layout import EPOCH, StoredFile, files_of
from keyturn.access_log.trail.parquet import ACCESS_COLUMNS, MICROSECOND, connected, event_files, read_file, translated
from keyturn.access_log.trail.spool import EVENT, SpoolLine
from keyturn.core.ports.access import DELETE, DESTROY, Access
from keyturn.core.ports.access_source import SourceRecord

RECENT: Final = timedelta(days=2)
"""The period that is read event by event: twice the detector's window."""
LONG: Final = timedelta(days=31)
"""The longest look-back of the rules with their default settings."""
MOST: Final = 2_000_000
"""Maximum number of reads from earlier weeks, newest first."""
PERIODS: Final = ('epoch_us("time") // 86_400_000_000', 'epoch_us("time") // 3_600_000_000 % 168')
"""Days, and hours of a week."""
FETCHED: Final = 20_000
ENDS: Final = f"action IN ('{DELETE}', '{DESTROY}')"
"""Actions that do not count as reads: a later deletion would hide the read."""

Remembered = tuple[int, Sequence[Access]]
"""The number of a segment, and accesses in it."""


def remembered(directory: Path, source: str, now: datetime) -> Iterator[Remembered]:
    """Yield the memory of ``source`` in this trail, by segments; the open one is last.

    Raises Unavailable, Rewritten and Invalid where the trail can't be read.
    """
    files = files_of(directory, source)
    recent = [stored for stored in files if stored.within(now - RECENT, now + LONG)]
    long_ago = [stored for stored in files if stored not in recent and stored.within(now - LONG, now)]
    for accesses in _last_reads(long_ago):
        yield -1, accesses
    for stored in recent:
        for segment, records in read_file(stored):
            yield segment.number, [record.access for record in records]
    yield from _unsealed(TrailFiles(directory).spool(source))


def _last_reads(files: Sequence[StoredFile]) -> Iterator[Sequence[Access]]:
    """Yield each principal's first and last reads, its active days and hours, and its deletions."""
    if not files:
        return
    each = 'system, principal, path, "source"'
    groups = [("max", each), ("min", each), *(("min", f"system, principal, {period}") for period in PERIODS)]
    parts = [f'SELECT arg_{end}(reads, "time") AS read FROM reads GROUP BY {keys}' for end, keys in groups]  # noqa: S608  ours alone
    each_end = f"system, principal, action, path, {PERIODS[0]}"
    parts.append(f'SELECT arg_max(ends, "time") AS read FROM ends GROUP BY {each_end}')  # noqa: S608  ours alone
    rows = event_files([stored.path for stored in files])
    reads = f"reads AS (SELECT * FROM {rows} WHERE NOT denied AND NOT {ENDS})"  # noqa: S608  ours alone
    ends = f"ends AS (SELECT * FROM {rows} WHERE NOT denied AND {ENDS})"  # noqa: S608  ours alone
    chosen = f"WITH {reads}, {ends} {' UNION '.join(parts)}"
    names = ", ".join(f'read."{name}"' for name in ACCESS_COLUMNS[1:])
    with connected() as connection, translated(files[0].path, "read"):
        newest = f'SELECT read FROM ({chosen}) ORDER BY read."time" DESC LIMIT {MOST}'  # noqa: S608  ours alone
        query = f'SELECT epoch_us(read."time"), {names} FROM ({newest}) ORDER BY read."time"'  # noqa: S608  ours alone
        answer = connection.execute(query)
        while rows_of := answer.fetchmany(FETCHED):
            yield [Access(EPOCH + time * MICROSECOND, *rest) for time, *rest in rows_of]


def _unsealed(spool: Path) -> Iterator[Remembered]:
    """Yield the open segment; a batch counts once its own line is complete."""
    if not spool.exists():
        return
    decoder, number, batch = msgspec.json.Decoder(SourceRecord), 0, list[Access]()
    with spool.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # a line that a crash cut off
            if line.startswith(EVENT):
                batch.append(decoder.decode(line).access)
                continue
            own = msgspec.json.decode(line, type=SpoolLine)
            number = own.beginning.number if own.beginning else number
            yield number, batch
            batch = []
