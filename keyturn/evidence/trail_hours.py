"""The access trail for reports: accesses summed, and reads by hour of the day."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.period import Holdings, Period, query_trail
from keyturn.access_log.trail.totals import TrailLog
from keyturn.core.ports.access import READ

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TICK: Final = timedelta(microseconds=1)
"""The trail's period includes its last moment, a report's does not."""

HOURS: Final = f"""
    SELECT hour(time)::INTEGER, path, count(*)::BIGINT FROM events
    WHERE action = '{READ}' AND NOT denied AND list_contains($paths, path) GROUP BY ALL ORDER BY ALL"""  # noqa: S608


class HourlyTrail(TrailLog):
    def hours(self, paths: Collection[str], since: datetime, until: datetime) -> Mapping[tuple[int, str], int]:
        """Return the granted reads of these secrets by hour (UTC) and path. Raises Unavailable."""

        def answer(connection: "DuckDBPyConnection", _: Holdings) -> dict[tuple[int, str], int]:
            rows = connection.execute(HOURS, {"paths": sorted(paths)}).fetchall()
            return {(hour, path): count for hour, path, count in rows}

        return query_trail(self._directory, Period(since, until - TICK), answer)
