"""The trail's events as Parquet files, written and read without loss with DuckDB.

Rows are events in order. ``time`` is UTC in microseconds, ``segment`` and ``leaf`` are the place. The metadata has the
rest of each segment.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from keyturn.access_log.trail.layout import (
    EPOCH,
    Segment,
    StoredFile,
    files_of,
    unreadable,
)
from keyturn.core.errors import Invalid, NotFound, Rewritten, Unavailable
from keyturn.core.files import PRIVATE_FILE, make_private_directory, sync_directory
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MICROSECOND: Final = timedelta(microseconds=1)

COLUMNS: Final = {
    "time": "BIGINT",
    "system": "VARCHAR",
    "path": "VARCHAR",
    "version": "BIGINT",
    "principal": "VARCHAR",
    "source": "VARCHAR",
    "denied": "BOOLEAN",
    "login": "VARCHAR",
    "action": "VARCHAR",
    "agent": "VARCHAR",
    "root": "BOOLEAN",
    "granted": "VARCHAR",
    "digest": "BLOB",
    "position": "VARCHAR",
    "segment": "BIGINT",
    "leaf": "BIGINT",
}
"""Column types of parameters. Files have a timestamp as ``time``."""
ACCESS_COLUMNS: Final = tuple(COLUMNS)[:12]
"""The columns of an Access, in its order."""

ROWS: Final = 491_520
"""Rows of a row group."""
DISTINCT: Final = 100_000
"""The most distinct texts in a dictionary, which speeds up searches."""
FETCHED: Final = 20_000
"""Rows that are fetched from DuckDB at once."""
FORMAT: Final = f"FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, ROW_GROUP_SIZE {ROWS}"

SEGMENTS_KEY: Final = "keyturn.segments"
GAPS_KEY: Final = "keyturn.gaps"
"""Metadata key of the gaps with segment and sealing time, absent if there are none."""
DRAFT: Final = ".draft"


def write_segment(directory: Path, source: str, segment: Segment, records: Sequence[SourceRecord]) -> StoredFile:
    """Write one segment durably to its own file in the trail. It is idempotent. Raises Unavailable."""
    accesses = [record.access for record in records]
    stored = StoredFile.of(directory, source, [segment])
    lists = [
        [(access.at - EPOCH) // MICROSECOND for access in accesses],
        *([getattr(access, name) for access in accesses] for name in ACCESS_COLUMNS[1:]),
        [record.digest for record in records],
        [record.position for record in records],
        [segment.number] * len(records),
        list(range(len(records))),
    ]
    rows = ", ".join(f"unnest(?::{kind}[]) AS {name}" for name, kind in COLUMNS.items())
    columns = ", ".join(("make_timestamp(time) AS time", *tuple(COLUMNS)[1:]))
    with connected() as connection:
        write_file(connection, stored, f"SELECT {columns} FROM (SELECT {rows})", lists, [segment])  # noqa: S608
    return stored


def write_file(
    connection: "DuckDBPyConnection",
    stored: StoredFile,
    rows: str,
    parameters: Sequence[Any],
    segments: list[Segment],
    *options: str,
) -> None:
    """Write a query's rows to a file atomically. Raises Unavailable."""
    gaps = [(segment.number, segment.sealed, segment.gaps) for segment in segments if segment.gaps]
    members = {SEGMENTS_KEY: segments, **({GAPS_KEY: gaps} if gaps else {})}
    metadata = ", ".join(f"'{key}': {literal(msgspec.json.encode(value).decode())}" for key, value in members.items())
    write_aside(connection, stored.path, rows, parameters, f"KV_METADATA {{{metadata}}}", *options)


def write_aside(
    connection: "DuckDBPyConnection", path: Path, rows: str, parameters: Sequence[Any] = (), *options: str
) -> None:
    """Write a query's rows atomically and durably to a file. Raises Unavailable."""
    draft = path.with_name(f".{path.name}{DRAFT}")
    form = ", ".join((FORMAT, "USE_TMP_FILE false", *options))
    try:
        make_private_directory(path.parent)
        with suppress(FileNotFoundError):
            draft.unlink()  # of a killed run
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        with translated(path, "write"):
            connection.execute(f"COPY ({rows}) TO {literal(str(draft))} ({form})", list(parameters))
        _sync(draft)
        draft.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        hint = "Give the trail a directory that this user may write to, with room on its disk"
        raise Unavailable("write", str(path), error.strerror or "it failed", hint) from None
    finally:
        with suppress(OSError):
            draft.unlink()


def numbering(rows: int) -> str:
    """The dictionary size option, at most a quarter of the rows."""
    return f"DICTIONARY_SIZE_LIMIT {max(1, min(DISTINCT, rows // 4))}"


def read_segment(directory: Path, source: str, number: int) -> list[SourceRecord]:
    """Return one segment's records in their order. Raises NotFound, Unavailable, Rewritten."""
    for stored in files_of(directory, source):
        if stored.first <= number <= stored.last:
            (segment,) = (segment for segment in segments_of(stored) if segment.number == number)
            return _counted(stored, segment, [row[2] for row in _rows(stored, f"WHERE segment = {number}")])
    hint = "Is it older than what is kept? `keyturn ledger` shows when it was sealed"
    raise NotFound("read", f"segment {number} of {source}", "no file of the trail holds it", hint)


def read_file(stored: StoredFile) -> Iterator[tuple[Segment, list[SourceRecord]]]:
    """Yield each segment of a file with its records. Raises Unavailable, Rewritten."""
    segments = segments_of(stored)
    rows = groupby(_rows(stored), itemgetter(0))
    number, group = next(rows, (None, iter(())))
    for segment in segments:
        records: list[SourceRecord] = []
        if number == segment.number:
            records = [record for _, _, record in _ordered(stored, group)]
            number, group = next(rows, (None, iter(())))
        yield segment, _counted(stored, segment, records)
    if number is not None:
        raise _changed(stored, f"rows of segment {number} are where none are expected")


def segments_of(stored: StoredFile) -> list[Segment]:
    """A file's metadata of its segments. Raises Unavailable, Rewritten."""
    with connected() as connection, translated(stored.path, "read"):
        query = f"SELECT value FROM parquet_kv_metadata({listed([stored.path])}) WHERE key = ?"  # noqa: S608
        row = connection.execute(query, [SEGMENTS_KEY.encode()]).fetchone()
    try:
        segments = msgspec.json.decode(row[0] if row else b"", type=list[Segment])
    except msgspec.MsgspecError:
        raise _changed(stored, "it does not say which segments it holds") from None
    if [segment.number for segment in segments] != list(range(stored.first, stored.last + 1)):
        raise _changed(stored, "it holds other segments than its name says")
    if StoredFile.of(stored.directory, stored.source, segments).name != stored.name:
        raise _changed(stored, "its name says another time than it is of")
    return segments


@contextmanager
def connected(**settings: Any) -> "Iterator[DuckDBPyConnection]":
    """Open an in-memory DuckDB without extensions.

    By default it is shared by the process, with one thread. With ``settings`` it is a new one, which starts slowly.
    """
    connection = _database(**settings) if settings else _own_database(os.getpid()).cursor()
    try:
        yield connection
    finally:
        connection.close()


@cache
def _own_database(process: int) -> "DuckDBPyConnection":
    return _database()


def _database(**settings: Any) -> "DuckDBPyConnection":
    try:
        import duckdb
    except ModuleNotFoundError:
        hint = "Install keyturn[trail]"
        raise Invalid("open", "the access trail", "the package duckdb is missing", hint) from None

    alone = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    safe: dict[str, Any] = {**alone, "temp_directory": "", "threads": 1, **settings}
    return duckdb.connect(config=safe)


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Replace DuckDB's error messages, which may quote file contents."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException:
        hint = "Ask for less at once, or give the machine more"
        raise Unavailable(doing, str(path), "there is not enough memory", hint) from None
    except duckdb.Error as error:
        if doing == "read":
            _insist_on_readable(path)
        problem = "DuckDB can't write it" if doing == "write" else "it is no whole Parquet file"
        hint = "Check the disk; if the file was changed, an older copy of it may be intact"
        raise Unavailable(doing, str(path), f"{problem} ({type(error).__name__})", hint) from None


def _insist_on_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise unreadable(path, error) from None


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def listed(paths: Sequence[Path]) -> str:
    """Return file names as an SQL list, with glob characters escaped."""
    brackets = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})
    return "[" + ", ".join(literal(str(path).translate(brackets)) for path in paths) + "]"


def event_files(paths: Sequence[Path]) -> str:
    """Event files as an SQL table, with defaults for missing columns."""
    files = f"read_parquet({listed(paths)}, hive_partitioning = false, union_by_name = true)"
    rows = f"(SELECT NULL::VARCHAR AS granted LIMIT 0) UNION ALL BY NAME (FROM {files})"
    return f"(SELECT * REPLACE (coalesce(granted, '') AS granted) FROM ({rows}))"  # noqa: S608


_Row = tuple[int, int, SourceRecord]
"""Segment number, place and record."""


def _rows(stored: StoredFile, condition: str = "") -> Iterator[_Row]:
    names = ", ".join(("segment", "leaf", "digest", "position", "epoch_us(time)", *ACCESS_COLUMNS[1:]))
    query = f"SELECT {names} FROM {event_files([stored.path])} {condition}"  # noqa: S608
    with connected() as connection:
        with translated(stored.path, "read"):
            answer = connection.execute(query)
        while rows := _fetched(answer, stored.path):
            for segment, leaf, digest, position, time, *rest in rows:
                access = Access(EPOCH + time * MICROSECOND, *rest)
                yield segment, leaf, SourceRecord(access, digest, position)


def _fetched(answer: "DuckDBPyConnection", path: Path) -> list[tuple[Any, ...]]:
    with translated(path, "read"):
        return answer.fetchmany(FETCHED)


def _ordered(stored: StoredFile, rows: Iterator[_Row]) -> Iterator[_Row]:
    """Yield one segment's rows, whose places must count up from 0."""
    for expected, row in enumerate(rows):
        if row[1] != expected:
            raise _changed(stored, f"its rows of segment {row[0]} are not in their order")
        yield row


def _counted(stored: StoredFile, segment: Segment, records: list[SourceRecord]) -> list[SourceRecord]:
    if len(records) != segment.count:
        problem = f"it holds {len(records):,} of the {segment.count:,} events of segment {segment.number}"
        raise _changed(stored, problem)
    return records


def _changed(stored: StoredFile, problem: str) -> Rewritten:
    hint = "It was changed by something that can write to the trail; an older copy of the file may be intact"
    return Rewritten("read", str(stored.path), problem, hint)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
