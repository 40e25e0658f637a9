"""Calendar rules: windows in which rotations may start, and freezes in which none may."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """When rotations may start, in local time; a window that ends before it begins crosses midnight.

    ``days`` are those on which it begins, Monday is 0. It follows local wall time: a skipped hour in spring does not
    exist, and a repeated one in autumn counts twice.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` (with a time zone) is inside; the end is outside."""
        local = now.astimezone(ZoneInfo(self.zone))
        clock = local.time().replace(tzinfo=None)
        if self.begin <= self.end:
            return local.weekday() in self.days and self.begin <= clock < self.end
        began_today = local.weekday() in self.days and clock >= self.begin
        began_yesterday = (local.weekday() - 1) % 7 in self.days and clock < self.end
        return began_today or began_yesterday

    def next_opening(self, now: datetime) -> datetime:
        """Return ``now`` if it is inside, else the next opening in UTC."""
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
        """Possible openings on a local day: the window's beginning, and a clock change."""
        zone = ZoneInfo(self.zone)
        yield from (instant(datetime.combine(day, self.begin), zone, fold) for fold in (0, 1))
        before, after = (instant(datetime.combine(midnight, time()), zone) for midnight in (day, day + DAY))
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            yield change(before, after, zone)


@dataclass(frozen=True)
class Freeze:
    """A period in which only urgent rotations happen; ``begins`` and ``ends`` are in UTC."""

    name: str
    begins: datetime
    ends: datetime
    reason: str

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` is inside; the end is outside."""
        return self.begins <= now < self.ends


def instant(local: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """The UTC time at which clocks in ``zone`` show ``local``; ``fold`` 1 is the second occurrence."""
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first second between two times with the UTC offset of ``after``."""
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset():
            after = middle
        else:
            before = middle
    return after


def told(at: datetime) -> str:
    """Format a time for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
