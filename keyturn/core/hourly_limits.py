"""Rate limits per hour: what counts now, and when one more is allowed. The clock is the hub's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HOUR: Final = timedelta(hours=1)

KEPT: Final = 2_000
"""Maximum events kept, the newest: more within an hour exceeds every limit."""


@dataclass(frozen=True)
class Happening:
    """An event that counts ``count`` times; ``by`` and ``paths`` are set where they matter."""

    at: datetime
    count: int = 1
    by: str = ""
    paths: tuple[str, ...] = ()

    def to_data(self) -> list[Any]:
        """Return JSON-ready data."""
        return [int(self.at.timestamp()), self.count, self.by, list(self.paths)]

    @staticmethod
    def from_data(data: Sequence[Any]) -> "Happening":
        """The reverse of :meth:`to_data`. Raises ValueError, TypeError or IndexError for malformed data."""
        at, count, by, paths = data
        return Happening(datetime.fromtimestamp(int(at), UTC), int(count), str(by), tuple(map(str, paths)))


def within_an_hour(happenings: Iterable[Happening], now: datetime) -> list[Happening]:
    """The events that count now, oldest first, without those dated more than an hour ahead."""
    return sorted((event for event in happenings if abs(now - event.at) < HOUR), key=lambda event: event.at)[-KEPT:]


def free_again(happenings: Iterable[Happening], limit: int, now: datetime) -> datetime | None:
    """Return when one more is allowed; None if it is now."""
    left, counting = limit, within_an_hour(happenings, now)
    for happening in reversed(counting):
        left -= happening.count
        if left <= 0:
            return happening.at + HOUR
    return None


def with_happening(happenings: Iterable[Happening], new: Happening) -> list[Happening]:
    """The events that count and the new one, merging equal ones within a minute."""
    counting = within_an_hour(happenings, new.at)
    for at, earlier in enumerate(counting):
        alike = replace(earlier, at=new.at, count=new.count) == new
        if alike and not new.paths and abs(new.at - earlier.at) < timedelta(minutes=1):
            counting[at] = replace(earlier, count=earlier.count + new.count)
            return counting
    return [*counting, new][-KEPT:]
