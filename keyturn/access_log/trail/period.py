"""The trail's events of a period, as SQL tables.

``events`` has one event per row, ``sums`` also several that differ only in their times. Whole days are from the
summaries of merged files. Unreadable files are reported.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from keyturn.access_log.trail.events import spooled_rows
from keyturn.access_log.trail.layout import EPOCH, StoredFile, stored_files
from keyturn.access_log.trail.parquet import COLUMNS, MICROSECOND, connected, event_files, listed
from keyturn.access_log.trail.spool import OpenSegment, held_spools
from keyturn.access_log.trail.summaries import SAME, SUM_COLUMNS
from keyturn.core.errors import Unavailable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Answer = TypeVar("Answer")

ATTEMPTS: Final = 10
"""Attempts if files are merged or found broken during a question."""
DAY: Final = timedelta(days=1) // MICROSECOND
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Period:
    """A time range that includes both ends."""

    since: datetime = FIRST
    until: datetime = LAST

    def within(self) -> str:
        """The SQL condition for its events."""
        return _between(_microseconds(self.since), _microseconds(self.until))

    def days(self) -> tuple[int, int]:
        """The bounds of its whole UTC days, in microseconds since 1970."""
        return math.ceil(_microseconds(self.since) / DAY) * DAY, (_microseconds(self.until) + 1) // DAY * DAY

    def outside_days(self) -> str:
        """The SQL condition for its events outside whole days."""
        since, until = _microseconds(self.since), _microseconds(self.until)
        begin, end = self.days()
        if begin >= end:
            return self.within()
        return f"({_between(since, begin - 1)} OR {_between(end, until)})"


@dataclass(frozen=True)
class Holdings:
    """All sealed files, unsealed segments, and the problems of unreadable files."""

    directory: Path
    period: Period
    files: Sequence[StoredFile]
    spools: Sequence[OpenSegment] = ()
    broken: dict[Path, str] = field(default_factory=dict)

    def readable(self) -> list[StoredFile]:
        """The period's readable files."""
        period = self.period
        return [file for file in self.files if file.within(period.since, period.until) and file.path not in self.broken]

    def summed(self) -> list[StoredFile]:
        """The readable files with a summary."""
        return [file for file in self.readable() if file.summary not in self.broken and _has_content(file.summary)]


def query_trail(
    directory: Path, period: Period, question: "Callable[[DuckDBPyConnection, Holdings], Answer]"
) -> Answer:
    """Answer a question about a period, despite concurrent merging and sealing.

    Raises Unavailable, and Invalid for foreign files.
    """
    with connected():
        import duckdb

    broken: dict[Path, str] = {}
    holdings = Holdings(directory, period, ())
    for _ in range(ATTEMPTS):
        try:
            with _holdings(directory, period, broken) as holdings, connected(threads=os.cpu_count() or 1) as connection:
                _lay(connection, holdings)
                return question(connection, holdings)
        except duckdb.OutOfMemoryException:
            hint = "Ask about a shorter time with --from and --to"
            raise Unavailable("read", str(directory), "there is not enough memory", hint) from None
        except duckdb.Error as error:
            damage = dict(_broken(holdings))
            if not damage and all(file.path.exists() for file in holdings.readable()):
                raise Unavailable("read", str(directory), f"DuckDB can't ({type(error).__name__})", "") from None
            broken |= damage
    raise Unavailable("read", str(directory), "its files change all the time", "Ask again")


@contextmanager
def _holdings(directory: Path, period: Period, broken: dict[Path, str]) -> Iterator[Holdings]:
    """Return what exists. Segments being sealed are read from their spools."""
    with held_spools(directory) as held:
        files = stored_files(directory)
        newest = {file.source: file for file in files}
        spools = [spool for spool in held if spool.source not in newest or newest[spool.source].last <= spool.number]
        numbers = {(spool.source, spool.number, spool.number) for spool in spools}
        sealed = [file for file in files if (file.source, file.first, file.last) not in numbers]
        yield Holdings(directory, period, sealed, spools, broken)


def _lay(connection: "DuckDBPyConnection", holdings: Holdings) -> None:
    """Create the two tables."""
    summed = holdings.summed()
    alone = [file for file in holdings.readable() if file not in summed]
    period = holdings.period
    spooled = list(_spooled(connection, holdings))
    events = [*_events(holdings.readable(), period.within()), *spooled]
    sums = [
        *_sums_of([*_events(alone, period.within()), *spooled]),
        *_sums_of(_events([file for file in summed if not _inside(file, period)], period.outside_days())),
        *_summaries([file for file in summed if _inside(file, period)]),
        *_summaries([file for file in summed if not _inside(file, period)], _in_days(period)),
    ]
    connection.execute(f"CREATE TEMP VIEW events AS {_union(events, _NO_EVENTS)}")
    connection.execute(f"CREATE TEMP VIEW sums AS {_union(sums, _NO_SUMS)}")


_EVENTS: Final = ", ".join(COLUMNS)
_NO_EVENTS: Final = "SELECT " + ", ".join(
    f"NULL::{'TIMESTAMP' if name == 'time' else kind} AS {name}" for name, kind in COLUMNS.items()
)
_SINGLE: Final = ", ".join(
    (*SAME, "time AS first", "time AS last", "1::BIGINT AS events", "login", "login AS other_login")
)
_NO_SUMS: Final = f"SELECT {_SINGLE} FROM ({_NO_EVENTS})"  # noqa: S608


def _union(parts: Iterable[str], nothing: str) -> str:
    return " UNION ALL ".join((f"({nothing} LIMIT 0)", *parts))


def _events(files: Sequence[StoredFile], condition: str) -> Iterator[str]:
    if files:
        yield f"SELECT {_EVENTS} FROM {event_files([file.path for file in files])} WHERE {condition}"  # noqa: S608


def _spooled(connection: "DuckDBPyConnection", holdings: Holdings) -> Iterator[str]:
    """Copy unsealed events once, because the last line may be incomplete."""
    if holdings.spools:
        queries = [spooled_rows(spool.path, spool.number, "ignore_errors = true") for spool in holdings.spools]
        rows = " UNION ALL ".join(f"SELECT *, {at} AS spool FROM ({query})" for at, query in enumerate(queries))  # noqa: S608
        connection.execute(f"CREATE TEMP TABLE spooled AS {rows}")
        yield f"SELECT {_EVENTS} FROM spooled WHERE {holdings.period.within()}"  # noqa: S608


def _sums_of(events: Iterable[str]) -> Iterator[str]:
    for part in events:
        # The queries add up sums anyway, so an event is a sum of one.
        yield f"SELECT {_SINGLE} FROM ({part})"  # noqa: S608


def _summaries(files: Sequence[StoredFile], condition: str = "true") -> Iterator[str]:
    if files:
        columns = ", ".join(SUM_COLUMNS)
        yield f"SELECT {columns} FROM {_read([file.summary for file in files])} WHERE {condition}"  # noqa: S608


def _read(paths: Sequence[Path]) -> str:
    return f"read_parquet({listed(paths)}, hive_partitioning = false)"


def _inside(file: StoredFile, period: Period) -> bool:
    """Whether all of its events are in the period."""
    seconds = timedelta(seconds=1) // MICROSECOND
    return _microseconds(period.since) <= file.start * seconds and file.end * seconds - 1 <= _microseconds(period.until)


def _has_content(path: Path) -> bool:
    """Whether the file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _in_days(period: Period) -> str:
    begin, end = period.days()
    return f"day >= make_timestamp({begin}) AND day < make_timestamp({end})"


def _between(since: int, until: int) -> str:
    return f"(time >= make_timestamp({since}) AND time <= make_timestamp({until}))"


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _broken(holdings: Holdings) -> Iterator[tuple[Path, str]]:
    """Yield unreadable files and their problems."""
    paths = [file.path for file in holdings.readable()] + [file.summary for file in holdings.summed()]
    for path in paths:
        if problem := _problem(path):
            yield path, problem


def _problem(path: Path) -> str:
    """Why a file can't be read. Empty if it can, or is gone, as after a merge."""
    import duckdb

    try:
        path.open("rb").close()
        with connected() as connection:
            columns = ", ".join(f"max({name})" for name in ("path", "principal", "source", "login", "agent"))
            connection.execute(f"SELECT {columns} FROM {_read([path])}").fetchall()  # noqa: S608
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or "it can't be read"
    except duckdb.Error:
        return "it is no whole Parquet file"
    return ""
