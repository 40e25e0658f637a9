"""Sums over a file's events: one row for all that is the same but its moment, in each day (UTC).

A principal that reads one secret from one address a thousand times a day is one row instead of a thousand, so that a
question over months need not read every event. What they say can be made again from the events at any time.
"""

from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.layout import StoredFile
from keyturn.access_log.trail.parquet import LARGE, listed, write_aside

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SAME: Final = ("system", "path", "principal", "source", "version", "denied", "action", "agent", "root")
"""What the events of a row have in common."""

SUMS: Final = (
    "min(time) AS first",
    "max(time) AS last",
    "count(*)::BIGINT AS events",
    "min(login) AS login",
    "max(login) AS other_login",
)
"""What is told of them; ``login`` and ``other_login`` are the same where all were of one."""

DAY: Final = "date_trunc('day', time)::TIMESTAMP AS day"
SUM_COLUMNS: Final = (*SAME, "first", "last", "events", "login", "other_login")


def write_summary(connection: "DuckDBPyConnection", stored: StoredFile) -> None:
    """Sum up a file, beside it. Raises Unavailable."""
    write_aside(connection, stored.summary, summary_rows(stored), (), LARGE)


def summary_rows(stored: StoredFile) -> str:
    """The rows of a file's summary, in SQL."""
    events = f"read_parquet({listed([stored.path])}, hive_partitioning = false)"
    columns = ", ".join((*SAME, DAY, *SUMS))
    order = "path, principal, source, version, first"
    return f"SELECT {columns} FROM {events} GROUP BY {', '.join(SAME)}, day ORDER BY {order}"  # noqa: S608
