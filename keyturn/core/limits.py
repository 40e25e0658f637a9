"""What happened within the last hour, and when there is room for more of it. The clock is the hub's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HOUR: Final = timedelta(hours=1)

KEPT: Final = 2_000
"""So many are kept at most, the newest: more within an hour is over every limit."""


@dataclass(frozen=True)
class Happening:
    """Something that counts against a limit, ``count`` times; ``by`` whom, and of which secrets, where that matters."""

    at: datetime
    count: int = 1
    by: str = ""
    paths: tuple[str, ...] = ()

    def to_data(self) -> list[Any]:
        """As JSON-ready data."""
        return [int(self.at.timestamp()), self.count, self.by, list(self.paths)]

    @staticmethod
    def from_data(data: Sequence[Any]) -> "Happening":
        """The reverse of :meth:`to_data`. Raises ValueError, TypeError or IndexError for what is none."""
        at, count, by, paths = data
        return Happening(datetime.fromtimestamp(int(at), UTC), int(count), str(by), tuple(map(str, paths)))


def within_an_hour(happenings: Iterable[Happening], now: datetime) -> list[Happening]:
    """Those that count now, the oldest first; one that a clock dated more than an hour ahead does not."""
    return sorted((event for event in happenings if abs(now - event.at) < HOUR), key=lambda event: event.at)[-KEPT:]


def free_again(happenings: Iterable[Happening], limit: int, now: datetime) -> datetime | None:
    """When there is room for one more; None where there is now."""
    left, counting = limit, within_an_hour(happenings, now)
    for happening in reversed(counting):
        left -= happening.count
        if left <= 0:
            return happening.at + HOUR
    return None


def with_happening(happenings: Iterable[Happening], new: Happening) -> list[Happening]:
    """What counts now, and this; those of one minute that differ in nothing else are one."""
    counting = within_an_hour(happenings, new.at)
    for at, earlier in enumerate(counting):
        alike = replace(earlier, at=new.at, count=new.count) == new
        if alike and not new.paths and abs(new.at - earlier.at) < timedelta(minutes=1):
            counting[at] = replace(earlier, count=earlier.count + new.count)
            return counting
    return [*counting, new][-KEPT:]
