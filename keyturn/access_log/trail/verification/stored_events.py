"""All events of a file as stored, even if changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from keyturn.access_log.trail.layout import EPOCH, StoredFile
from keyturn.access_log.trail.leaves import encode_leaves
from keyturn.access_log.trail.parquet import ACCESS_COLUMNS, FETCHED, MICROSECOND, connected, event_files, translated
from keyturn.core.ports.access import READ, Access
from keyturn.core.ports.access_source import SourceRecord
from keyturn.ledger.merkle import leaf_hashes

ACTION: Final = ACCESS_COLUMNS.index("action") - 1

Row = tuple[Any, ...]


@dataclass(frozen=True)
class StoredRun:
    """Consecutive rows of one segment: recorded places, leaf hashes and positions."""

    segment: int
    places: list[int]
    hashes: list[bytes]
    positions: list[str]


def stored_runs(stored: StoredFile) -> Iterator[StoredRun]:
    """Yield all rows of a file in runs of one segment. Raises Unavailable."""
    names = ", ".join(("segment", "leaf", "digest", '"position"', "epoch_us(time)", *ACCESS_COLUMNS[1:]))
    query = f"SELECT {names} FROM {event_files([stored.path])}"  # noqa: S608
    with connected() as connection, translated(stored.path, "read"):
        answer = connection.execute(query)
        while rows := answer.fetchmany(FETCHED):
            for segment, group in groupby(rows, itemgetter(0)):
                yield _run(segment, list(group))


def _run(segment: Any, rows: list[Row]) -> StoredRun:
    try:
        leaves = encode_leaves([_record(row) for row in rows])
    except (TypeError, ValueError, OverflowError):
        leaves = [_leaf(row) for row in rows]
    places = [row[1] if isinstance(row[1], int) else -1 for row in rows]
    return StoredRun(_number(segment), places, leaf_hashes(leaves), [str(row[3]) for row in rows])


def _leaf(row: Row) -> bytes:
    """The canonical bytes of a row, empty for impossible values."""
    try:
        return encode_leaves([_record(row)])[0]
    except (TypeError, ValueError, OverflowError):
        return b""


def _record(row: Row) -> SourceRecord:
    _, _, digest, position, time, *fields = row
    if fields[ACTION] == READ:
        fields[ACTION] = READ  # the same object, not an equal text: see encode_lines
    return SourceRecord(Access(EPOCH + time * MICROSECOND, *fields), digest, position)


def _number(segment: Any) -> int:
    return segment if isinstance(segment, int) else -1
