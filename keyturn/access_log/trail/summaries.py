"""Sums of a file's events: one row per UTC day for events that differ only in their times.

They make queries over months fast, and can be recreated from the events.
"""

from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.layout import StoredFile, unreadable
from keyturn.access_log.trail.parquet import connected, listed, numbering, translated, write_aside
from keyturn.core.files import PRIVATE_FILE, make_private_directory

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY: Final = "2GB"
"""The memory limit for creating or comparing sums."""
WORTH: Final = 3
"""The average events per row that make a summary worthwhile."""
SAME: Final = ("system", "path", "principal", "source", "version", "denied", "action", "agent", "root")
"""The common values of a row's events."""

SUMS: Final = (
    "min(time) AS first",
    "max(time) AS last",
    "count(*)::BIGINT AS events",
    "min(login) AS login",
    "max(login) AS other_login",
)
"""The aggregates. ``login`` and ``other_login`` are equal for a single login."""

DAY: Final = "date_trunc('day', time)::TIMESTAMP AS day"
SUM_COLUMNS: Final = (*SAME, "first", "last", "events", "login", "other_login")


def write_summary(connection: "DuckDBPyConnection", stored: StoredFile) -> None:
    """Write a file's summary, empty if it saves little. Raises Unavailable."""
    with translated(stored.path, "read"):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE summary AS {summary_rows(stored)}")
        events, rows = connection.execute("SELECT sum(events)::BIGINT, count(*) FROM summary").fetchall()[0]
    try:
        if (events or 0) >= WORTH * rows:
            write_aside(connection, stored.summary, "FROM summary", (), numbering(rows))
        else:
            make_private_directory(stored.summary.parent)
            stored.summary.touch(PRIVATE_FILE)
        connection.execute("DROP TABLE summary")
    except OSError as error:
        raise unreadable(stored.summary, error) from None


def summary_holds(stored: StoredFile) -> bool:
    """Whether a file's summary is missing or correct. Raises Unavailable."""
    if not stored.summary.exists() or not stored.summary.stat().st_size:
        return True
    import duckdb

    columns = ", ".join((*SAME, "day", *SUM_COLUMNS[len(SAME) :]))
    with connected(memory_limit=MEMORY) as connection:
        with translated(stored.path, "read"):
            connection.execute(f"CREATE TEMP TABLE expected AS {summary_rows(stored)}")
        try:
            summary = f"SELECT {columns} FROM read_parquet({listed([stored.summary])}, hive_partitioning = false)"  # noqa: S608
            connection.execute(f"CREATE TEMP TABLE present AS {summary}")
            query = """SELECT count(*) FROM ((FROM expected EXCEPT ALL FROM present)
                UNION ALL (FROM present EXCEPT ALL FROM expected))"""
            return connection.execute(query).fetchall() == [(0,)]
        except duckdb.Error:
            return False


def summary_rows(stored: StoredFile) -> str:
    """The SQL of a file's summary."""
    events = f"read_parquet({listed([stored.path])}, hive_partitioning = false)"
    columns = ", ".join((*SAME, DAY, *SUMS))
    order = "path, principal, source, version, first"
    return f"SELECT {columns} FROM {events} GROUP BY {', '.join(SAME)}, day ORDER BY {order}"  # noqa: S608
