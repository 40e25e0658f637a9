"""What the trail remembers of a source: so that after a start a detector knows what it knew before.

The last days are read event by event. Of the weeks before, rules ask no more than when a principal was last given what,
and where: that is told by the last such read of each, which DuckDB finds among millions.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.layout import EPOCH, StoredFile, files_of
from keyturn.access_log.trail.parquet import ACCESS_COLUMNS, MICROSECOND, connected, listed, read_file, translated
from keyturn.access_log.trail.spool import EVENT, SpoolLine
from keyturn.core.access import Access
from keyturn.core.access_source import SourceRecord

RECENT: Final = timedelta(days=2)
"""What is read event by event: twice the detector's window."""
LONG: Final = timedelta(days=31)
"""What rules look back at most, where nobody has set them otherwise."""
MOST: Final = 2_000_000
"""Last reads of the weeks before, the newest of them."""
FETCHED: Final = 20_000

Remembered = tuple[int, Sequence[Access]]
"""The number of a segment, and accesses of it."""


def remembered(directory: Path, source: str, now: datetime) -> Iterator[Remembered]:
    """What is remembered of ``source`` in the trail of that directory, by segments; the open one is last.

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
    """The last read that gave each secret to each principal at each address, oldest first."""
    if not files:
        return
    names = ", ".join(f'"{name}"' for name in ACCESS_COLUMNS[1:])
    keys = 'PARTITION BY system, principal, path, "source" ORDER BY "time" DESC'
    rows = f"FROM read_parquet({listed([stored.path for stored in files])}, hive_partitioning = false)"
    last = f'SELECT "time", {names} {rows} WHERE NOT denied QUALIFY row_number() OVER ({keys}) = 1'
    newest = f'SELECT * FROM ({last}) ORDER BY "time" DESC LIMIT {MOST}'  # noqa: S608  names and paths of ours alone
    with connected() as connection, translated(files[0].path, "read"):
        query = f'SELECT epoch_us("time"), {names} FROM ({newest}) ORDER BY "time"'  # noqa: S608
        answer = connection.execute(query)
        while rows_of := answer.fetchmany(FETCHED):
            yield [Access(EPOCH + time * MICROSECOND, *rest) for time, *rest in rows_of]


def _unsealed(spool: Path) -> Iterator[Remembered]:
    """The open segment, of which a batch counts once its own line is there."""
    if not spool.exists():
        return
    decoder, number, batch = msgspec.json.Decoder(SourceRecord), 0, list[Access]()
    with spool.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # what a crash has torn
            if line.startswith(EVENT):
                batch.append(decoder.decode(line).access)
                continue
            own = msgspec.json.decode(line, type=SpoolLine)
            number = own.beginning.number if own.beginning else number
            yield number, batch
            batch = []
