"""Accesses as they come: live, none waits for another."""

from collections.abc import Sequence
from datetime import timedelta
from math import inf
from typing import Final

from keyturn.access_log.detection.reorder import LATENESS, LATEST, NEVER, OrderCounts, Timed
from keyturn.core.access import Access

AHEAD: Final = 60.0
"""Seconds that a time may be ahead of the clock."""


class Arrivals:
    """Gives each access on at once, with its time, as :class:`.reorder.Reorder` does in order.

    Logs come at their own pace, a cloud's minutes after the hub's, one node's behind another's: whoever would wait for
    the last of them would be told too late, and whoever would leave out what is behind would be blind to it. So what is
    late is judged, too, and counted where it is older than ``lateness`` against what its system told before. A time
    that is ahead of the clock (:meth:`advance`) counts as now: a wrong clock neither blinds nor hides.
    """

    def __init__(self, lateness: timedelta = LATENESS) -> None:
        self.counts = OrderCounts()
        self._lateness = lateness.total_seconds()
        self._newest: dict[str, float] = {}
        self._now = inf

    def push(self, access: Access) -> Sequence[Timed]:
        """Take one, and give it on, unless its time is none that can be."""
        counts, at, system = self.counts, access.at.timestamp(), access.system
        if not 0 <= at < LATEST:
            counts.impossible += 1
            return ()
        if at > self._now + AHEAD:
            counts.ahead += 1
            at = self._now
        newest = self._newest.get(system, NEVER)
        if at >= newest:
            self._newest[system] = at
        elif at < newest - self._lateness:
            counts.late += 1
        counts.accesses += 1
        return ((at, access),)

    def advance(self, now: float) -> Sequence[Timed]:
        """That it is ``now`` by the clock; nothing waits."""
        self._now = now
        return ()

    def end(self) -> Sequence[Timed]:
        """Nothing waits."""
        return ()
