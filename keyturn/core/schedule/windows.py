"""The hours of the calendar: windows in which rotations may start, and freezes in which none may."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """When rotations may start, in local time; one that ends before it begins crosses midnight.

    ``days`` are those on which the window begins, Monday is 0. It is open whenever the clock on the wall
    shows a time inside: an hour that spring skips is not there, and one that autumn repeats counts twice.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` (with a time zone) lies inside; the end is outside."""
        local = now.astimezone(ZoneInfo(self.zone))
        clock = local.time().replace(tzinfo=None)
        if self.begin <= self.end:
            return local.weekday() in self.days and self.begin <= clock < self.end
        began_today = local.weekday() in self.days and clock >= self.begin
        began_yesterday = (local.weekday() - 1) % 7 in self.days and clock < self.end
        return began_today or began_yesterday

    def next_opening(self, now: datetime) -> datetime:
        """The first moment from ``now`` on that lies inside: ``now`` itself where it does, else a moment in UTC."""
        if self.holds(now):
            return now
        first = now.astimezone(ZoneInfo(self.zone)).date() - DAY
        while True:
            days = [first + day * DAY for day in range(8)]
            moments = sorted(moment for day in days for moment in self._openings(day) if moment > now)
            if opening := next(filter(self.holds, moments), None):
                return opening
            first = days[-1]

    def _openings(self, day: date) -> Iterator[datetime]:
        """The moments of a local day at which the window may open: its beginning, and a change of the clocks."""
        zone = ZoneInfo(self.zone)
        yield from (instant(datetime.combine(day, self.begin), zone, fold) for fold in (0, 1))
        before, after = (instant(datetime.combine(midnight, time()), zone) for midnight in (day, day + DAY))
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            yield change(before, after, zone)


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is rotated that can wait; ``begins`` and ``ends`` are moments in UTC."""

    name: str
    begins: datetime
    ends: datetime
    reason: str

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` lies inside; the end is outside."""
        return self.begins <= now < self.ends


def instant(local: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """The moment, in UTC, at which the clocks of ``zone`` show ``local``; ``fold`` 1 the second time that they do."""
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first second between two moments at which the clocks of ``zone`` are set as they are ``after``."""
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset():
            after = middle
        else:
            before = middle
    return after


def told(at: datetime) -> str:
    """A moment for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
