"""This machine's clock and the hub's, which dates all recorded times."""

from datetime import datetime, timedelta
from typing import Final

AGREE: Final = timedelta(seconds=2)
"""Clocks within this difference agree: the hub's answers have whole seconds and take time."""

SKEW: Final = timedelta(seconds=30)
"""Difference that warrants a warning: half the waiting time for a silent worker."""


FIRST_YEAR, LAST_YEAR = 1900, 9000


def insist_on_usable(moment: datetime) -> datetime:
    """The same time. Raises OutOfReach if adding an interval could fail."""
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise OutOfReach(moment.year)
    return moment


class OutOfReach(ValueError):
    """A time in an implausible year."""

    def __init__(self, year: int) -> None:
        super().__init__(f"it names the year {year}")


def by_hub_clock(local: datetime, ahead: timedelta | None) -> datetime:
    """A local time by the hub's clock, which is ``ahead`` (None: unknown)."""
    return local if ahead is None or abs(ahead) <= AGREE else local + ahead


def clock_warning(ahead: timedelta | None) -> str:
    """A warning about this machine's clock; empty if it agrees or is unknown."""
    if ahead is None or abs(ahead) <= SKEW:
        return ""
    side = "behind" if ahead > timedelta() else "ahead of"
    return (
        f"WARNING: this machine's clock is {abs(ahead).total_seconds():.0f} s {side} the hub's. "
        "Set both by the same time service"
    )
