"""The trail as a log for incident reports."""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyturn.access_log.trail.coverage import coverage_of
from keyturn.access_log.trail.investigation import to_utc
from keyturn.access_log.trail.period import Holdings, Period, query_trail
from keyturn.access_log.trail.summaries import SAME
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import READ, Access, AccessSum, Coverage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ORDER = ", ".join(SAME)


class TrailLog:
    """A :class:`keyturn.core.ports.access.SummedAccessLog` of the trail in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.name = f"access trail {directory}"
        self.coverage = Coverage()
        self._directory = directory

    def sums(self, paths: Collection[str], since: datetime, until: datetime) -> Iterator[AccessSum]:
        """Yield reads of these secrets, and their readers' other reads. Raises Unavailable."""
        if not self._directory.is_dir():
            hint = "KEYTURN_TRAIL names it: run this on the machine that has the trail, or unset it"
            raise Unavailable("read", str(self._directory), "there is no such directory", hint)
        period = Period(since, until)
        rows, self.coverage = query_trail(
            self._directory, period, lambda connection, holdings: _answer(connection, holdings, list(paths))
        )
        for *same, login, first, last, count in rows:
            fields = dict(zip(SAME, same, strict=True))
            yield AccessSum(Access(at=to_utc(first), login=login, **fields), to_utc(last), count)


def _answer(
    connection: "DuckDBPyConnection", holdings: Holdings, paths: list[str]
) -> tuple[list[tuple[Any, ...]], Coverage]:
    connection.execute(_WANTED, {"paths": paths})
    rows = connection.execute(_SUMS, {"paths": paths}).fetchall()
    (lines, first, last) = connection.execute(
        "SELECT sum(events)::BIGINT, epoch_us(min(first)), epoch_us(max(last)) FROM sums"
    ).fetchall()[0]
    sources = coverage_of(connection, holdings).sources
    gaps = [f"{source.source}: {words}" for source in sources for words in source.shortfalls(holdings.period)]
    if not sources:
        gaps = ["no log was read into it yet"]
    if lines is None:
        return rows, Coverage(gaps=(*gaps, "it reports nothing of that time"))
    return rows, Coverage(lines, to_utc(first), to_utc(last), tuple(gaps))


# Logins are known only for the requested secrets, because sums do not contain them.
_WANTED = f"""
    CREATE TEMP TABLE wanted AS SELECT {_ORDER}, login,
        epoch_us(min(time)) AS first, epoch_us(max(time)) AS last, count(*) AS count
    FROM events WHERE action = '{READ}' AND list_contains($paths, path) GROUP BY {_ORDER}, login"""  # noqa: S608

_SUMS = f"""
    SELECT {_ORDER}, login, first, last, count FROM wanted
    UNION ALL
    SELECT {_ORDER}, '', epoch_us(min(first)), epoch_us(max(last)), sum(events)::BIGINT
    FROM sums WHERE action = '{READ}' AND NOT list_contains($paths, path)
        AND (system, principal) IN (SELECT (system, principal) FROM wanted)
    GROUP BY {_ORDER}"""  # noqa: S608
