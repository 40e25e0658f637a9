"""Runs reactions, each by itself: one that fails or hangs holds up no other, and not whoever reads the log.

Each has a :class:`.worker.Worker` of its own.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from keyturn.access_log.detection.alerts import Alert
from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.reactions.worker import Pacing, Worker, WorkerStatus

REMEMBERED: Final = 10_000
"""So many of the last alerts are known again when they come twice."""

Key = tuple[str, str, int]
"""An alert's id, its stage, and how many accesses it tells of: it may be raised several times."""


def key_of(alert: Alert) -> Key:
    """What tells it from every other; the same however often it comes."""
    return alert.id, str(alert.stage), alert.count


def pacing_of(reaction: Reaction) -> Pacing:
    """How often it may be called, and how long it may take."""
    return Pacing(reaction.burst, reaction.pace, reaction.patience, reaction.pause)


class Reactions:
    """Gives alerts to reactions. ``say`` is told in words when one begins to fail, works again, or drops alerts."""

    def __init__(
        self,
        reactions: Sequence[Reaction],
        say: Callable[[str], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._lock = Lock()
        self._workers = [
            Worker(reaction.name, reaction.react, pacing_of(reaction), say, monotonic, chance) for reaction in reactions
        ]

    def take(self, alerts: Sequence[Alert]) -> None:
        """Have all of them dealt with, in their order; waits for nothing, and raises nothing."""
        with self._lock:
            fresh = [alert for alert in alerts if self._is_new(key_of(alert))]
        for worker in self._workers if fresh else ():
            worker.put(fresh)

    def status(self) -> tuple[WorkerStatus, ...]:
        """How each of them is."""
        return tuple(worker.status() for worker in self._workers)

    def settle(self, seconds: float) -> bool:
        """Whether nothing waits any more, after so many seconds at most."""
        over = time.monotonic() + seconds
        return all(worker.settle(over) for worker in self._workers)

    def close(self, seconds: float = 5.0) -> None:
        """Give what waits so many seconds more, and stop."""
        self.settle(seconds)
        for worker in self._workers:
            worker.stop()

    def _is_new(self, key: Key) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True
