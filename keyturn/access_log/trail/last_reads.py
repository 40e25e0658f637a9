"""When anyone except Keyturn last read each secret, and since when the trail would show it."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.coverage import TrailCoverage, coverage_of
from keyturn.access_log.trail.investigation import to_utc
from keyturn.access_log.trail.period import Holdings, Period, query_trail
from keyturn.core.ports.access import HUB

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READS: Final = """
    SELECT path, system, epoch_us(max(last)), arg_max(principal, last) FROM sums
    WHERE action = 'read' AND NOT denied
        AND NOT (system = $hub AND list_contains($own, principal))
    GROUP BY path, system"""


@dataclass(frozen=True)
class LastRead:
    """The newest successful read and its principal."""

    at: datetime
    principal: str


@dataclass(frozen=True)
class LastReads:
    """Last reads by path and system. ``heard`` is since when systems are known."""

    reads: Mapping[str, Mapping[str, LastRead]]
    heard: Mapping[str, datetime]
    coverage: TrailCoverage

    def of(self, path: str, system: str) -> LastRead | None:
        """A secret's last read in a system, if known."""
        return self.reads.get(path, {}).get(system)


def last_reads(directory: Path, own: Collection[str] = ()) -> LastReads:
    """Query the trail. ``own`` names Keyturn's principals in the hub. Raises Unavailable."""

    def answer(connection: "DuckDBPyConnection", holdings: Holdings) -> LastReads:
        reads: dict[str, dict[str, LastRead]] = defaultdict(dict)
        for path, system, last, principal in connection.execute(_READS, {"own": list(own), "hub": HUB}).fetchall():
            reads[path][system] = LastRead(to_utc(last), principal)
        coverage = coverage_of(connection, holdings)
        begins = min((source.begins for source in coverage.sources if source.begins), default=None)
        rows = connection.execute("SELECT system, epoch_us(min(first)) FROM sums GROUP BY system").fetchall()
        # A single event with a wrong time must not make a log appear older.
        heard = {system: max(to_utc(first), begins) for system, first in rows if begins}
        return LastReads(reads, heard, coverage)

    return query_trail(directory, Period(), answer)
