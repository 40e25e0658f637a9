"""Runs reactions, each by itself: one that fails or hangs holds up no other, and not whoever reads the log.

Each has a queue of its own, which is bounded, and a thread. What fails is tried again after a pause that grows; what a
call is given that was refused for good is given alone then, so that one alert holds up no other.
"""

import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Final

from keyturn.access_log.detection.alerts import Alert
from keyturn.access_log.reactions.port import Reaction
from keyturn.core.errors import KeyturnError, TerminalError, Unavailable, unexpected

WAITING: Final = 1_000
"""Alerts that wait for a reaction at most; of more, the oldest are dropped, counted and told."""

AT_ONCE: Final = 100
"""Alerts that are given together at most."""

REMEMBERED: Final = 10_000
"""So many of the last alerts are known again when they come twice."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds before what failed is tried again, drawn up to the double; each is twice the one before."""

ABANDONED: Final = 3
"""So many calls of a reaction may hang; while they do, no other one is made."""

Key = tuple[str, str, int]
"""An alert's id, its stage, and how many accesses it tells of: it may be raised several times."""


@dataclass(frozen=True)
class ReactionStatus:
    """How a reaction is: so many alerts wait for it, so many were dropped. ``problem`` is why it fails, empty if not.

    ``failures`` counts those in a row.
    """

    name: str
    waiting: int
    dropped: int = 0
    failures: int = 0
    problem: str = ""


def key_of(alert: Alert) -> Key:
    """What tells it from every other; the same however often it comes."""
    return alert.id, str(alert.stage), alert.count


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
        self._workers = [_Worker(reaction, say, monotonic, chance) for reaction in reactions]

    def take(self, alerts: Sequence[Alert]) -> None:
        """Have all of them dealt with, in their order; waits for nothing, and raises nothing. One thread calls it."""
        fresh = [alert for alert in alerts if self._is_new(key_of(alert))]
        for worker in self._workers if fresh else ():
            worker.put(fresh)

    def status(self) -> tuple[ReactionStatus, ...]:
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


@dataclass
class _Worker:
    """One reaction, its queue and its thread."""

    reaction: Reaction
    say: Callable[[str], None]
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    _queue: deque[Alert] = field(default_factory=deque)
    _changed: Condition = field(default_factory=Condition)
    _hanging: list[Thread] = field(default_factory=list)
    _not_before: float = 0.0
    _spent: float = float("-inf")
    """Until when the calls reach that were made, at one each ``pace``."""
    _alone: bool = False
    _stopped: bool = False
    _dropped: int = 0
    _failures: int = 0
    _problem: str = ""

    def __post_init__(self) -> None:
        Thread(target=copy_context().run, args=(self._run,), name=self.reaction.name, daemon=True).start()

    def put(self, alerts: Sequence[Alert]) -> None:
        with self._changed:
            self._queue.extend(alerts)
            too_many = max(0, len(self._queue) - WAITING)
            for _ in range(too_many):
                self._queue.popleft()
            begins = too_many and not self._dropped
            self._dropped += too_many
            self._changed.notify_all()
        if begins:
            self.say(f"{self.reaction.name}: more than {WAITING:,} alerts wait for it, and the oldest are dropped")

    def status(self) -> ReactionStatus:
        with self._changed:
            return ReactionStatus(self.reaction.name, len(self._queue), self._dropped, self._failures, self._problem)

    def settle(self, over: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, max(0.0, over - time.monotonic()))

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        while batch := self._next():
            error = self._attempt(batch)
            if error is None:
                self._succeed(batch)
            else:
                self._fail(batch, error)

    def _next(self) -> list[Alert]:
        """What is to be given now, once it is time; empty at the end."""
        with self._changed:
            while not self._stopped:
                pause = self._not_before - self.monotonic()
                if self._queue and pause <= 0:
                    return [self._queue[0]] if self._alone else list(self._queue)[:AT_ONCE]
                self._changed.wait(pause if self._queue else None)
        return []

    def _attempt(self, batch: list[Alert]) -> KeyturnError | None:
        """Why a call failed; None where it did not."""
        self._count_call()
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= ABANDONED:
            return self._late(f"{ABANDONED} calls of it hang")
        outcome = list[KeyturnError | None]()
        thread = Thread(target=copy_context().run, args=(self._call, batch, outcome), daemon=True)
        thread.start()
        thread.join(self.reaction.patience)
        if outcome:
            return outcome[0]
        self._hanging.append(thread)
        return self._late(f"it did not end within {self.reaction.patience:g} s")

    def _count_call(self) -> None:
        """Have the next call wait where the last ones were as many as may follow each other."""
        now, reaction = self.monotonic(), self.reaction
        self._spent = max(self._spent, now - reaction.burst * reaction.pace) + reaction.pace
        self._not_before = self._spent

    def _late(self, problem: str) -> KeyturnError:
        return Unavailable("react by", self.reaction.name, problem, "It is tried again")

    def _call(self, batch: list[Alert], outcome: list[KeyturnError | None]) -> None:
        try:
            self.reaction.react(batch)
        except KeyturnError as error:
            outcome.append(error)
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            outcome.append(unexpected(error))
        else:
            outcome.append(None)

    def _succeed(self, batch: list[Alert]) -> None:
        with self._changed:
            again, self._failures, self._problem = self._failures, 0, ""
            self._remove(batch)
            self._alone = self._alone and bool(self._queue)
            self._changed.notify_all()
        if again:
            self.say(f"{self.reaction.name}: works again, after {again:,} failures")

    def _fail(self, batch: list[Alert], error: KeyturnError) -> None:
        with self._changed:
            begins = not self._failures
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 20)) * (1 + self.chance())
            self._not_before = max(self._not_before, self.monotonic() + pause)
            self._failures, self._problem = self._failures + 1, str(error)
            if isinstance(error, TerminalError):
                self._alone = True
                self._remove(batch)
                self._queue.extend(batch)
        if begins:
            self.say(f"{self.reaction.name}: {error}")

    def _remove(self, batch: list[Alert]) -> None:
        """Take these out; some may have been dropped meanwhile."""
        done = {id(alert) for alert in batch}
        others = [alert for alert in self._queue if id(alert) not in done]
        self._queue.clear()
        self._queue.extend(others)
