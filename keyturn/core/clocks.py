"""This machine's clock and the hub's, by which every process records its moments."""

from datetime import datetime, timedelta
from typing import Final

AGREE: Final = timedelta(seconds=2)
"""Within this difference the clocks agree: the hub dates its answers in whole seconds, and they take time."""

SKEW: Final = timedelta(seconds=30)
"""From this difference on a person is warned: half of how long a silent worker is waited for."""


FIRST_YEAR, LAST_YEAR = 1900, 9000


def insist_on_usable(moment: datetime) -> datetime:
    """The same moment. Raises OutOfReach where it is so far away that adding an interval would fail."""
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise OutOfReach(moment.year)
    return moment


class OutOfReach(ValueError):
    """A moment in a year that no clock shows."""

    def __init__(self, year: int) -> None:
        super().__init__(f"it tells of the year {year}")


def by_hub_clock(local: datetime, ahead: timedelta | None) -> datetime:
    """A moment of this machine's clock, by the hub's clock, which is ``ahead`` (None: not known)."""
    return local if ahead is None or abs(ahead) <= AGREE else local + ahead


def clock_warning(ahead: timedelta | None) -> str:
    """What to tell a person about this machine's clock; empty when it agrees with the hub's or nobody knows."""
    if ahead is None or abs(ahead) <= SKEW:
        return ""
    side = "behind" if ahead > timedelta() else "ahead of"
    return (
        f"WARNING: this machine's clock is {abs(ahead).total_seconds():.0f} s {side} the hub's. "
        "Set both by the same time service"
    )
