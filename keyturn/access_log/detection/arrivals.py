"""Accesses as they come: live, none waits for another."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from math import inf
from typing import Final

from keyturn.access_log.detection.reorder import LATENESS, LATEST, NEVER, OrderCounts, Timed
from keyturn.core.ports.access import Access

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

    def push(self, accesses: Iterable[Access]) -> Sequence[Timed]:
        """Take some, and give them on, but for those whose time is none that can be."""
        ready, impossible, latest = [], 0, self._now + AHEAD
        for access in accesses:
            at = access.at.timestamp()
            if not 0 <= at < LATEST:
                impossible += 1
                continue
            if at > latest:
                self.counts.ahead += 1
                at = self._now
            newest = self._newest.get(access.system, NEVER)
            if at >= newest:
                self._newest[access.system] = at
            elif at < newest - self._lateness:
                self.counts.late += 1
            ready.append((at, access))
        self.counts.impossible += impossible
        self.counts.accesses += len(ready)
        return ready

    def advance(self, now: float) -> Sequence[Timed]:
        """That it is ``now`` by the clock; nothing waits."""
        self._now = now
        return ()

    def end(self) -> Sequence[Timed]:
        """Nothing waits."""
        return ()
