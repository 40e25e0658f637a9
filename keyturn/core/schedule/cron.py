"""Cron: rotations at set times on the wall's clock, as Debian's cron keeps them when the clocks change."""

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
"""Where the distances between runs are measured from: a leap year follows."""
YEAR: Final = timedelta(days=366)
ENOUGH: Final = 100
"""Runs after which a year's distances are known; rarer ones are followed for eight years, to the second leap day."""
LONGEST_LOOK: Final = timedelta(days=8 * 366)


@dataclass(frozen=True)
class Cron:
    """Five fields: minute, hour, day of the month, month and day of the week, read on the clocks of ``zone``.

    A set time that spring skips comes as soon as the clocks have gone on, one that autumn repeats comes once;
    where minute or hour begins with a star, runs keep their distance instead (cron(8) of Debian).
    """

    expression: str
    zone: str

    def runs(self, after: datetime) -> Iterator[datetime]:
        """Every run later than ``after``, in UTC and in order; none when there is none within 50 years."""
        last = after
        for run in CronSim(self.expression, after.astimezone(ZoneInfo(self.zone))):
            at = run.astimezone(UTC)
            if at > last:
                yield at
                last = at

    def next(self, after: datetime) -> datetime | None:
        """The first run later than ``after``, in UTC."""
        return next(self.runs(after), None)

    def distances(self) -> tuple[timedelta, timedelta] | None:
        """The shortest and the longest time between two runs; None for what runs less than once in eight years."""
        return measured(self)


@cache
def measured(cron: Cron) -> tuple[timedelta, timedelta] | None:
    """The same, measured once."""
    runs = []
    for run in cron.runs(SAMPLE):
        runs.append(run)
        if run > SAMPLE + LONGEST_LOOK or (run > SAMPLE + YEAR and len(runs) > ENOUGH):
            break
    distances = sorted({later - earlier for earlier, later in pairwise(runs)})
    return (distances[0], distances[-1]) if distances and distances[-1] < LONGEST_LOOK else None


def cron_flaw(expression: str) -> str | None:
    """What is wrong with an expression, in words that quote nothing of it; None for one that can be read."""
    if len(expression.split()) != FIELDS:
        return "has not five fields"
    try:
        CronSim(expression, SAMPLE)
    except CronSimError as error:
        return str(error).lower()
    return None
