"""Events of the trail with the names that proofs use."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyturn.access_log.trail.layout import EPOCH, files_of, sources
from keyturn.access_log.trail.parquet import ACCESS_COLUMNS, MICROSECOND, connected, event_files, translated
from keyturn.access_log.trail.segments import EventName
from keyturn.core.ports.access import Access

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class NamedEvent:
    """An event, its name and its line's position in the log."""

    name: EventName
    access: Access
    position: str


@dataclass(frozen=True)
class EventFilter:
    """Selects events by time (inclusive), path, principal and address."""

    since: datetime
    until: datetime
    path: str = ""
    principal: str = ""
    address: str = ""

    def condition(self) -> tuple[str, list[Any]]:
        """The SQL condition and its parameters."""
        wanted = {"path": self.path, "principal": self.principal, "source": self.address}
        conditions = {f'"{column}" = ?': text for column, text in wanted.items() if text}
        moments = [(moment - EPOCH) // MICROSECOND for moment in (self.since, self.until)]
        return " AND ".join(["epoch_us(time) BETWEEN ? AND ?", *conditions]), [*moments, *conditions.values()]


def find_events(directory: Path, wanted: EventFilter, limit: int) -> list[NamedEvent]:
    """The newest matching sealed events, oldest first. Raises Unavailable, Invalid."""
    events: list[NamedEvent] = []
    for source in sources(directory):
        paths = [stored.path for stored in files_of(directory, source) if stored.within(wanted.since, wanted.until)]
        if paths:
            with connected() as connection, translated(paths[0].parent, "read"):
                events += _of_files(connection, source, paths, wanted, limit)
    return sorted(events, key=lambda event: (event.access.at, event.name.segment, event.name.leaf))[-limit:]


def _of_files(
    connection: "DuckDBPyConnection", source: str, paths: list[Path], wanted: EventFilter, limit: int
) -> list[NamedEvent]:
    condition, parameters = wanted.condition()
    names = ", ".join(("segment", "leaf", '"position"', "epoch_us(time)", *ACCESS_COLUMNS[1:]))
    order = f"ORDER BY time DESC, segment DESC, leaf DESC LIMIT {limit}"
    query = f"SELECT {names} FROM {event_files(paths)} WHERE {condition} {order}"  # noqa: S608
    rows = connection.execute(query, parameters).fetchall()
    return [
        NamedEvent(EventName(source, segment, leaf), Access(EPOCH + time * MICROSECOND, *fields), position)
        for segment, leaf, position, time, *fields in rows
    ]
