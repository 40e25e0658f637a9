"""Accesses in order of arrival, without waiting."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from math import inf
from typing import Final

from keyturn.access_log.detection.reorder import LATENESS, LATEST, NEVER, OrderCounts, Timed
from keyturn.core.ports.access import Access

AHEAD: Final = 60.0
"""Seconds that a time may be ahead of the clock."""


class Arrivals:
    """Releases each access at once with its time, unlike :class:`.reorder.Reorder`.

    Logs differ in delay, so waiting would delay alerts and dropping would lose them. Accesses more than ``lateness``
    behind their system are counted. Times ahead of the clock (:meth:`advance`) count as now.
    """

    def __init__(self, lateness: timedelta = LATENESS) -> None:
        self.counts = OrderCounts()
        self._lateness = lateness.total_seconds()
        self._newest: dict[str, float] = {}
        self._now = inf

    def push(self, accesses: Iterable[Access]) -> Sequence[Timed]:
        """Release accesses, without those with an impossible time."""
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
        """Set the clock to ``now``. Nothing is waiting."""
        self._now = now
        return ()

    def end(self) -> Sequence[Timed]:
        """Nothing is waiting."""
        return ()
