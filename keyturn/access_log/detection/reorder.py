"""Sort accesses by time within a limit of lateness, and count later ones."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from math import inf
from operator import itemgetter
from typing import Final

from keyturn.core.ports.access import Access

LATENESS: Final = timedelta(minutes=5)
"""The largest delay of an access."""

LATEST: Final = 7030 * 365.2425 * 86_400
"""The year 9000, in seconds since 1970."""

HELD: Final = 200_000
"""The most waiting accesses. Beyond it, the oldest are released early."""

Timed = tuple[float, Access]
"""An access with its time in seconds since 1970."""

NEVER: Final = -inf

TOGETHER: Final = 1_000
"""Accesses per batch."""


def in_batches(accesses: Iterable[Access]) -> Iterator[list[Access]]:
    """Split accesses into batches, in their order."""
    rest = iter(accesses)
    while batch := list(islice(rest, TOGETHER)):
        yield batch


@dataclass
class OrderCounts:
    """Counts of released and rejected accesses. ``late`` ones came after a later one was released.

    ``impossible`` ones are before 1970 or after the year 9000. ``ahead`` ones are judged as current.
    """

    accesses: int = 0
    late: int = 0
    impossible: int = 0
    duplicates: int = 0
    ahead: int = 0


class Reorder:
    """Releases accesses by time, and drops exact duplicates. Not thread-safe.

    The second newest time is the clock, so that one line from the future makes no other late.
    """

    def __init__(self, lateness: timedelta = LATENESS) -> None:
        self.counts = OrderCounts()
        self._lateness = lateness.total_seconds()
        self._newest = self._second = self._given_at = self._same_at = self._twin_at = NEVER
        self._last: Access | None = None
        self._same: set[Access | None] = set()
        self._waiting: list[Timed] = []

    def push(self, accesses: Iterable[Access]) -> Sequence[Timed]:
        """Add accesses, and return those that nothing can precede any more."""
        waiting, newest, second = self._waiting, self._newest, self._second
        for access in accesses:
            at = access.at.timestamp()
            if not 0 <= at < LATEST:
                self.counts.impossible += 1
            elif at > newest:
                second, newest = newest, at
                waiting.append((at, access))
            elif at < self._given_until(second - self._lateness):
                self.counts.late += 1
            else:
                second = max(second, at)
                self._insert(at, access)
        self._newest, self._second = newest, second
        until = second - self._lateness
        return self._give(max(until, waiting[-HELD - 1][0]) if len(waiting) > HELD else until)

    def advance(self, now: float) -> Sequence[Timed]:
        """Return accesses that nothing can precede at the clock time ``now``."""
        return self._give(now - self._lateness)

    def end(self) -> Sequence[Timed]:
        """Return all waiting accesses."""
        return self._give(inf)

    def _given_until(self, until: float) -> float:
        """The time of the last access released by then."""
        waiting = self._waiting
        place = bisect_right(waiting, until, key=_moment) if waiting and waiting[0][0] <= until else 0
        return waiting[place - 1][0] if place else self._given_at

    def _insert(self, at: float, access: Access) -> None:
        """Insert it after all that are not later."""
        waiting = self._waiting
        place = bisect_right(waiting, at, key=_moment)
        if at == self._given_at or (place and waiting[place - 1][0] == at):
            self._twin_at = max(self._twin_at, at)
        waiting.insert(place, (at, access))

    def _give(self, until: float) -> Sequence[Timed]:
        waiting = self._waiting
        if not waiting or waiting[0][0] > until:
            return ()
        place = bisect_right(waiting, until, key=_moment)
        ready = waiting[:place]
        del waiting[:place]
        if ready[0][0] <= self._twin_at:
            ready = [timed for timed in ready if self._is_new(timed)]
        else:
            self._given_at, self._last = ready[-1]
        self.counts.accesses += len(ready)
        return ready

    def _is_new(self, timed: Timed) -> bool:
        """Whether it is no duplicate at its time."""
        at, access = timed
        if at == self._given_at:
            if at != self._same_at:
                self._same_at, self._same = at, {self._last}
            if access in self._same:
                self.counts.duplicates += 1
                return False
            self._same.add(access)
        self._given_at, self._last = timed
        return True


_moment: Final = itemgetter(0)
