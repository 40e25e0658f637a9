"""The coverage of an answer: its begin, its latest event and what is missing.

It uses the files' metadata. Only the ledger shows whether these were changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.heads import last_head
from keyturn.access_log.trail.layout import EPOCH, SECOND, StoredFile
from keyturn.access_log.trail.parquet import GAPS_KEY, MICROSECOND, listed, segments_of
from keyturn.access_log.trail.period import FIRST, Holdings, Period
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FIRST_NUMBER: Final = 0
"""A source's first number."""


@dataclass(frozen=True)
class MissingSegments:
    """Segments in no file, with their times if known."""

    first: int
    last: int
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        single = self.first == self.last
        numbers = f"segment {self.first} is" if single else f"segments {self.first} to {self.last} are"
        moments = (("after", self.since), ("before", self.until))
        between = " and ".join(f"{word} {_shown(moment)}" for word, moment in moments if moment)
        return f"{numbers} not here{f', of {between}' if between else ''}: removed, or in another host's trail"


@dataclass(frozen=True)
class BrokenFile:
    """An unreadable file and the time range of its events."""

    file: str
    problem: str
    since: datetime
    until: datetime

    def __str__(self) -> str:
        times = f"{_shown(self.since)} to {_shown(self.until)}"
        return f"{self.file} is left out, with events of {times}: {self.problem}"


@dataclass(frozen=True)
class LogGap:
    """What a source could not report, and when that was sealed."""

    segment: int
    sealed: datetime
    words: str

    def __str__(self) -> str:
        return f"it could not report everything, by {_shown(self.sealed)}: {self.words}"


@dataclass(frozen=True)
class SourceCoverage:
    """The coverage of one source, from its first event ``begins`` to its newest ``latest``.

    ``sealed`` is the last sealing, ``unsealed`` counts later events. The others are those of the period.
    """

    source: str
    begins: datetime | None = None
    latest: datetime | None = None
    sealed: datetime | None = None
    unsealed: int = 0
    missing: tuple[MissingSegments, ...] = ()
    broken: tuple[BrokenFile, ...] = ()
    gaps: tuple[LogGap, ...] = ()

    def shortfalls(self, period: Period) -> Iterator[str]:
        """Yield what is unknown about a period."""
        if self.begins is None:
            yield "it has reported nothing yet"
        elif FIRST < period.since < self.begins:
            yield f"it begins at {_shown(self.begins)}; what was before is not known"
        yield from map(str, (*self.missing, *self.broken, *self.gaps))


@dataclass(frozen=True)
class TrailCoverage:
    """The coverage of every source by name."""

    directory: Path
    sources: Sequence[SourceCoverage] = ()

    @property
    def latest(self) -> datetime | None:
        """The time of the newest event."""
        return max((source.latest for source in self.sources if source.latest), default=None)

    def covers(self, period: Period) -> bool:
        """Whether nothing is known to be missing. False for an empty trail."""
        return bool(self.sources) and not any(True for source in self.sources for _ in source.shortfalls(period))


def coverage_of(connection: "DuckDBPyConnection", holdings: Holdings) -> TrailCoverage:
    """Return the coverage of a period. Raises Unavailable and DuckDB's errors."""
    spooled = _unsealed(connection, holdings)
    heads = dict(_heads(holdings.directory))
    names = sorted({file.source for file in holdings.files} | spooled.keys() | heads.keys())
    gaps = list(_gaps(connection, holdings))
    sources = []
    for name in names:
        files = [file for file in holdings.files if file.source == name]
        unsealed = spooled.get(name, _Unsealed())
        sealed, latest = _newest(files, holdings)
        sources.append(
            SourceCoverage(
                name,
                _begins(connection, files, holdings) or unsealed.first,
                max(filter(None, (latest, unsealed.newest)), default=None),
                sealed,
                unsealed.events,
                tuple(_missing(files, holdings, heads.get(name, 0), name)),
                tuple(_broken(files, holdings)),
                tuple(gap for file, gap in gaps if file.source == name),
            )
        )
    return TrailCoverage(holdings.directory, sources)


@dataclass(frozen=True)
class _Unsealed:
    """A source's unsealed events: number, first and newest time."""

    events: int = 0
    first: datetime | None = None
    newest: datetime | None = None


def _unsealed(connection: "DuckDBPyConnection", holdings: Holdings) -> dict[str, _Unsealed]:
    """Return the unsealed events by source."""
    query = "SELECT count(*), epoch_us(first(time ORDER BY leaf)), epoch_us(max(time)) FROM spooled WHERE spool = ?"
    rows = [connection.execute(query, [at]).fetchall()[0] for at, _ in enumerate(holdings.spools)]
    return {
        spool.source: _Unsealed(count, *(None if at is None else EPOCH + at * MICROSECOND for at in moments))
        for spool, (count, *moments) in zip(holdings.spools, rows, strict=True)
    }


def _heads(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield the number of each source's newest head."""
    for path in TrailFiles(directory).all_heads():
        if newest := last_head(path):
            yield newest.head.source, newest.head.number


def _begins(connection: "DuckDBPyConnection", files: Sequence[StoredFile], holdings: Holdings) -> datetime | None:
    """The first event of the first readable file, the oldest in an ordered log."""
    import duckdb

    for file in files:
        if file.start < file.end and file.path not in holdings.broken:
            query = f"SELECT epoch_us(time) FROM read_parquet({listed([file.path])}) LIMIT 1"  # noqa: S608
            try:
                if row := connection.execute(query).fetchone():
                    return EPOCH + int(row[0]) * MICROSECOND
            except duckdb.Error:
                if not file.path.exists():
                    raise  # it was merged
    return None


def _newest(files: Sequence[StoredFile], holdings: Holdings) -> tuple[datetime | None, datetime | None]:
    """The last sealing, and the newest time in the last file with events."""
    sealed = None
    for file in reversed(files):
        if file.path not in holdings.broken and (sealed is None or file.start < file.end):
            try:
                segments = segments_of(file)
            except KeyturnError:
                continue
            sealed = sealed or segments[-1].sealed
            if latest := max((segment.last for segment in segments if segment.last), default=None):
                return sealed, latest
    return sealed, None


def _missing(files: Sequence[StoredFile], holdings: Holdings, head: int, source: str) -> Iterator[MissingSegments]:
    """Yield the segments of the period that are in no file."""
    spool = next((spool.number for spool in holdings.spools if spool.source == source), None)
    before, end = FIRST_NUMBER - 1, None
    for file in files:
        if file.first > before + 1 and _overlaps(end, file.start, holdings):
            yield MissingSegments(before + 1, file.first - 1, _moment(end), _moment(file.start))
        before, end = file.last, file.end if file.start < file.end else end
    last = head if spool is None else max(head, spool - 1)
    if spool is not None and before + 1 == spool:
        return
    if last > before:
        yield MissingSegments(before + 1, last, _moment(end))


def _overlaps(since: int | None, until: int, holdings: Holdings) -> bool:
    """Whether the time between may be in the period."""
    period = holdings.period
    return until * SECOND >= period.since - EPOCH and (since or -until) * SECOND <= period.until - EPOCH


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else EPOCH + timedelta(seconds=seconds)


def _broken(files: Sequence[StoredFile], holdings: Holdings) -> Iterator[BrokenFile]:
    for file in files:
        if file.path in holdings.broken:
            since, until = EPOCH + file.start * SECOND, EPOCH + file.end * SECOND
            yield BrokenFile(str(file.path), holdings.broken[file.path], since, until)


def _gaps(connection: "DuckDBPyConnection", holdings: Holdings) -> Iterator[tuple[StoredFile, LogGap]]:
    """Yield the gaps in the files of the period."""
    files = {str(file.path): file for file in holdings.readable()}
    if not files:
        return
    query = f"SELECT file_name, value FROM parquet_kv_metadata({listed(list(map(Path, files)))}) WHERE key = ?"  # noqa: S608
    for name, value in connection.execute(query, [GAPS_KEY.encode()]).fetchall():
        for number, sealed, words in msgspec.json.decode(value, type=list[tuple[int, datetime, tuple[str, ...]]]):
            yield from ((files[name], LogGap(number, sealed, word)) for word in words)
