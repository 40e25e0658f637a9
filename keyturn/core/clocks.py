"""This machine's clock and the hub's, by which every process records its moments."""

from datetime import datetime, timedelta
from typing import Final

AGREE: Final = timedelta(seconds=2)
"""Within this difference the clocks agree: the hub dates its answers in whole seconds, and they take time."""

SKEW: Final = timedelta(seconds=30)
"""From this difference on a person is warned: half of how long a silent worker is waited for."""


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
