"""The access trail as reports read it: added up, and how often each secret was read in which hour of the day."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.period import Holdings, Period, query_trail
from keyturn.access_log.trail.totals import TrailLog
from keyturn.core.ports.access import READ

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TICK: Final = timedelta(microseconds=1)
"""The trail's period has its last moment within, a report's has not."""

HOURS: Final = f"""
    SELECT hour(time)::INTEGER, path, count(*)::BIGINT FROM events
    WHERE action = '{READ}' AND NOT denied AND list_contains($paths, path) GROUP BY ALL ORDER BY ALL"""  # noqa: S608


class HourlyTrail(TrailLog):
    """The trail in a directory."""

    def hours(self, paths: Collection[str], since: datetime, until: datetime) -> Mapping[tuple[int, str], int]:
        """Reads that gave one of these secrets, by the hour (UTC) and the path. Raises Unavailable."""

        def answer(connection: "DuckDBPyConnection", _: Holdings) -> dict[tuple[int, str], int]:
            rows = connection.execute(HOURS, {"paths": sorted(paths)}).fetchall()
            return {(hour, path): count for hour, path, count in rows}

        return query_trail(self._directory, Period(since, until - TICK), answer)
