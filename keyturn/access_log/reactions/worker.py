"""A queue and a thread for something that may fail or hang: what waits is bounded, and tried again with pauses."""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Final, Generic, TypeVar

from keyturn.core.errors import KeyturnError, TerminalError, Unavailable, unexpected

T = TypeVar("T")

WAITING: Final = 1_000
"""Items that wait at most; of more, the oldest are dropped, counted and told."""

AT_ONCE: Final = 100
"""Items that are given together at most."""

FIRST_PAUSE: Final = 1.0
"""Seconds before what failed is tried again, drawn up to the double; each pause is twice the one before."""

ABANDONED: Final = 3
"""So many calls may hang; while they do, no other one is made."""


@dataclass(frozen=True)
class Pacing:
    """``burst`` calls may follow each other at once, and then one each ``pace`` seconds.

    One that has not returned after ``patience`` seconds counts as failed. ``pause`` is the longest, in seconds, before
    what failed is tried again.
    """

    burst: int = 1
    pace: float = 0.0
    patience: float = 60.0
    pause: float = 300.0


@dataclass(frozen=True)
class WorkerStatus:
    """So many items wait, so many were dropped. ``problem`` is why it fails, empty if not.

    ``failures`` counts those in a row.
    """

    name: str
    waiting: int
    dropped: int = 0
    failures: int = 0
    problem: str = ""


@dataclass
class Worker(Generic[T]):
    """Gives what is put to ``deliver``, in its order. ``say`` is told when it begins to fail, or works again.

    Where ``deliver`` refuses something for good, each item is given alone then, so that it holds up no other.
    """

    name: str
    deliver: Callable[[Sequence[T]], None]
    pacing: Pacing
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _queue: deque[T] = field(default_factory=deque)
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
        Thread(target=copy_context().run, args=(self._run,), name=self.name, daemon=True).start()

    def put(self, items: Sequence[T]) -> None:
        """Have these dealt with; waits for nothing."""
        with self._changed:
            self._queue.extend(items)
            too_many = max(0, len(self._queue) - WAITING)
            for _ in range(too_many):
                self._queue.popleft()
            begins = too_many and not self._dropped
            self._dropped += too_many
            self._changed.notify_all()
        if begins:
            self.say(f"{self.name}: more than {WAITING:,} wait for it, and the oldest are dropped")

    def status(self) -> WorkerStatus:
        """How it is."""
        with self._changed:
            return WorkerStatus(self.name, len(self._queue), self._dropped, self._failures, self._problem)

    def settle(self, over: float) -> bool:
        """Whether nothing waits any more, at that moment at the latest."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, max(0.0, over - time.monotonic()))

    def stop(self) -> None:
        """Give nothing more."""
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

    def _next(self) -> list[T]:
        """What is to be given now, once it is time; empty at the end."""
        with self._changed:
            while not self._stopped:
                pause = self._not_before - self.monotonic()
                if self._queue and pause <= 0:
                    return [self._queue[0]] if self._alone else list(self._queue)[:AT_ONCE]
                self._changed.wait(pause if self._queue else None)
        return []

    def _attempt(self, batch: list[T]) -> KeyturnError | None:
        """Why a call failed; None where it did not."""
        self._count_call()
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= ABANDONED:
            return self._late(f"{ABANDONED} calls of it hang")
        outcome = list[KeyturnError | None]()
        thread = Thread(target=copy_context().run, args=(self._call, batch, outcome), daemon=True)
        thread.start()
        thread.join(self.pacing.patience)
        if outcome:
            return outcome[0]
        self._hanging.append(thread)
        return self._late(f"it did not end within {self.pacing.patience:g} s")

    def _count_call(self) -> None:
        """Have the next call wait where the last ones were as many as may follow each other."""
        now, pacing = self.monotonic(), self.pacing
        self._spent = max(self._spent, now - pacing.burst * pacing.pace) + pacing.pace
        self._not_before = self._spent

    def _late(self, problem: str) -> KeyturnError:
        return Unavailable("run", self.name, problem, "It is tried again")

    def _call(self, batch: list[T], outcome: list[KeyturnError | None]) -> None:
        try:
            self.deliver(batch)
        except KeyturnError as error:
            outcome.append(error)
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            outcome.append(unexpected(error))
        else:
            outcome.append(None)

    def _succeed(self, batch: list[T]) -> None:
        with self._changed:
            again, self._failures, self._problem = self._failures, 0, ""
            self._remove(batch)
            self._alone = self._alone and bool(self._queue)
            self._changed.notify_all()
        if again:
            self.say(f"{self.name}: works again, after {again:,} failures")

    def _fail(self, batch: list[T], error: KeyturnError) -> None:
        with self._changed:
            begins = not self._failures
            pause = min(self.pacing.pause, FIRST_PAUSE * 2 ** min(self._failures, 20)) * (1 + self.chance())
            self._not_before = max(self._not_before, self.monotonic() + pause)
            self._failures, self._problem = self._failures + 1, str(error)
            if isinstance(error, TerminalError):
                self._alone = True
                self._remove(batch)
                self._queue.extend(batch)
        if begins:
            self.say(f"{self.name}: {error}")

    def _remove(self, batch: list[T]) -> None:
        """Take these out; some may have been dropped meanwhile."""
        done = {id(item) for item in batch}
        others = [item for item in self._queue if id(item) not in done]
        self._queue.clear()
        self._queue.extend(others)
