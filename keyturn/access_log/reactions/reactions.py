"""Runs reactions in separate workers (:class:`.worker.Worker`), so that one can't block others or the log's reader."""

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
"""The latest alerts, for skipping duplicates."""

Key = tuple[str, str, int]
"""An alert's id, stage and count, because it may be raised several times."""


def key_of(alert: Alert) -> Key:
    """The identity of an alert's report."""
    return alert.id, str(alert.stage), alert.count


def pacing_of(reaction: Reaction) -> Pacing:
    """The pacing of a reaction."""
    return Pacing(reaction.burst, reaction.pace, reaction.patience, reaction.pause)


class Reactions:
    """Passes alerts to reactions. ``say`` reports failures, recoveries and dropped alerts."""

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
        """Queue alerts in order without waiting or raising."""
        with self._lock:
            fresh = [alert for alert in alerts if self._is_new(key_of(alert))]
        for worker in self._workers if fresh else ():
            worker.put(fresh)

    def status(self) -> tuple[WorkerStatus, ...]:
        """The status of each reaction."""
        return tuple(worker.status() for worker in self._workers)

    def settle(self, seconds: float) -> bool:
        """Whether nothing is waiting, after at most these seconds."""
        over = time.monotonic() + seconds
        return all(worker.settle(over) for worker in self._workers)

    def close(self, seconds: float = 5.0) -> None:
        """Wait for at most these seconds, and stop."""
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
