"""Cron: rotations at set wall-clock times, with Debian cron's rules for clock changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS: Final = 5

SAMPLE: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""Start of the measurement of intervals: a leap year follows."""
YEAR: Final = timedelta(days=366)
ENOUGH: Final = 100
"""Runs after which one year suffices; rarer schedules are measured for eight, to the second leap day."""
LONGEST_LOOK: Final = timedelta(days=8 * 366)


@dataclass(frozen=True)
class Cron:
    """Five fields: minute, hour, day of month, month and day of week, in the time zone ``zone``.

    A time skipped in spring runs right after the change, and a repeated one in autumn runs once. If minute or hour
    begins with a star, runs keep their interval instead (cron(8) of Debian).
    """

    expression: str
    zone: str

    def runs(self, after: datetime) -> Iterator[datetime]:
        """Every run after ``after``, in UTC and in order; none without one in 50 years."""
        last = after
        for run in CronSim(self.expression, after.astimezone(ZoneInfo(self.zone))):
            at = run.astimezone(UTC)
            if at > last:
                yield at
                last = at

    def next(self, after: datetime) -> datetime | None:
        """The first run after ``after``, in UTC."""
        return next(self.runs(after), None)

    def distances(self) -> tuple[timedelta, timedelta] | None:
        """The shortest and longest interval; None below one run in eight years."""
        return measured(self)


@cache
def measured(cron: Cron) -> tuple[timedelta, timedelta] | None:
    """The same, cached."""
    runs = []
    for run in cron.runs(SAMPLE):
        runs.append(run)
        if run > SAMPLE + LONGEST_LOOK or (run > SAMPLE + YEAR and len(runs) > ENOUGH):
            break
    distances = sorted({later - earlier for earlier, later in pairwise(runs)})
    return (distances[0], distances[-1]) if distances and distances[-1] < LONGEST_LOOK else None


def cron_flaw(expression: str) -> str | None:
    """Return what is wrong with an expression, without quoting it; None if it is valid."""
    if len(expression.split()) != FIELDS:
        return "has not five fields"
    try:
        CronSim(expression, SAMPLE)
    except CronSimError as error:
        return str(error).lower()
    return None
