"""Puts accesses in the order of their own times: what is late within bounds in its place, the rest is counted."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush
from math import inf
from typing import Final

from keyturn.core.access import Access

LATENESS: Final = timedelta(minutes=5)
"""How much older than what came before it an access may be: logs of several nodes differ by less."""

LATEST: Final = 7030 * 365.2425 * 86_400
"""The year 9000, as seconds since 1970."""

HELD: Final = 200_000
"""Accesses that wait for others at most; beyond, the oldest goes on sooner."""

Timed = tuple[float, Access]
"""An access, and its time as seconds since 1970."""

NEVER: Final = -inf


@dataclass
class OrderCounts:
    """What was given on, and what was not: ``late`` was older than what had been given on already.

    ``impossible`` were before 1970, or after the year 9000: a clock that was never set, or nonsense. ``ahead`` were
    later than the clock, and are judged as of then.
    """

    accesses: int = 0
    late: int = 0
    impossible: int = 0
    duplicates: int = 0
    ahead: int = 0


class Reorder:
    """Gives accesses on in the order of their times. Two that are equal in all they tell are one that came twice.

    Time goes by the second newest moment that came: a single line whose clock is ahead makes nothing late after it, it
    waits until others come near. Used by one thread.
    """

    def __init__(self, lateness: timedelta = LATENESS) -> None:
        self.counts = OrderCounts()
        self._lateness = lateness.total_seconds()
        self._newest = self._second = self._given_at = self._same_at = NEVER
        self._last: Access | None = None
        self._same: set[Access | None] = set()
        self._number = 0
        self._ordered: deque[Timed] = deque()
        self._stragglers: list[tuple[float, int, Access]] = []

    def push(self, access: Access) -> Sequence[Timed]:
        """Take one, and give on what nothing can come before any more."""
        at = access.at.timestamp()
        ordered, stragglers = self._ordered, self._stragglers
        if not 0 <= at < LATEST:
            self.counts.impossible += 1
            return ()
        if at >= self._newest:
            self._second, self._newest = self._newest, at
            ordered.append((at, access))
        elif at < self._given_at:
            self.counts.late += 1
            return ()
        else:
            self._second = max(self._second, at)
            self._number += 1
            heappush(stragglers, (at, self._number, access))
        until = self._second - self._lateness
        if (ordered and ordered[0][0] <= until) or (stragglers and stragglers[0][0] <= until):
            return self._give(until)
        return self._give(self._oldest()) if len(ordered) + len(stragglers) > HELD else ()

    def advance(self, now: float) -> Sequence[Timed]:
        """What nothing can come before any more, now that it is ``now`` by the clock."""
        return self._give(now - self._lateness)

    def end(self) -> Sequence[Timed]:
        """Everything that still waits."""
        return self._give(inf)

    def _oldest(self) -> float:
        ordered, stragglers = self._ordered, self._stragglers
        return min(ordered[0][0] if ordered else inf, stragglers[0][0] if stragglers else inf)

    def _give(self, until: float) -> list[Timed]:
        ordered, stragglers = self._ordered, self._stragglers
        ready: list[Timed] = []
        while True:
            first = ordered[0][0] if ordered else inf
            if stragglers and stragglers[0][0] < first:
                if stragglers[0][0] > until:
                    return ready
                at, _, access = heappop(stragglers)
                timed = (at, access)
            elif first <= until and ordered:
                timed = ordered.popleft()
            else:
                return ready
            if timed[0] > self._given_at or self._is_new(timed):
                self._given_at, self._last = timed
                self.counts.accesses += 1
                ready.append(timed)

    def _is_new(self, timed: Timed) -> bool:
        """Whether it has not come before; what comes twice tells the same time, so only that is looked at."""
        at, access = timed
        if at != self._same_at:
            self._same_at = at
            self._same = {self._last}
        if access in self._same:
            self.counts.duplicates += 1
            return False
        self._same.add(access)
        return True
