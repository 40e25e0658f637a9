"""A bounded queue and thread for calls that may fail or hang."""

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
"""The most waiting items. The oldest are dropped and counted."""

AT_ONCE: Final = 100
"""The most items per call."""

FIRST_PAUSE: Final = 1.0
"""Seconds before a retry, doubling, and randomly up to twice."""

ABANDONED: Final = 3
"""The most hanging calls, beyond which there is no other."""


@dataclass(frozen=True)
class Pacing:
    """Allow ``burst`` calls at once, then one every ``pace`` seconds.

    A call fails after ``patience`` seconds. Retries wait at most ``pause`` seconds.
    """

    burst: int = 1
    pace: float = 0.0
    patience: float = 60.0
    pause: float = 300.0


@dataclass(frozen=True)
class WorkerStatus:
    """Waiting and dropped items, consecutive ``failures`` and the ``problem``."""

    name: str
    waiting: int
    dropped: int = 0
    failures: int = 0
    problem: str = ""


@dataclass
class Worker(Generic[T]):
    """Passes queued items to ``deliver`` in order. ``say`` reports failure and recovery.

    After a terminal error each item is delivered alone, so that it blocks no other.
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
    """When the calls so far are used up, at one every ``pace``."""
    _alone: bool = False
    _stopped: bool = False
    _dropped: int = 0
    _failures: int = 0
    _problem: str = ""

    def __post_init__(self) -> None:
        Thread(target=copy_context().run, args=(self._run,), name=self.name, daemon=True).start()

    def put(self, items: Sequence[T]) -> None:
        """Queue items without waiting."""
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
        """The current status."""
        with self._changed:
            return WorkerStatus(self.name, len(self._queue), self._dropped, self._failures, self._problem)

    def settle(self, over: float) -> bool:
        """Whether the queue is empty by that moment."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, max(0.0, over - time.monotonic()))

    def stop(self) -> None:
        """Stop delivering."""
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
        """Wait for the next batch, empty after :meth:`stop`."""
        with self._changed:
            while not self._stopped:
                pause = self._not_before - self.monotonic()
                if self._queue and pause <= 0:
                    return [self._queue[0]] if self._alone else list(self._queue)[:AT_ONCE]
                self._changed.wait(pause if self._queue else None)
        return []

    def _attempt(self, batch: list[T]) -> KeyturnError | None:
        """Call ``deliver``, and return its error or None."""
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
        """Delay the next call where the burst is used up."""
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
        """Remove these items, some of which may have been dropped."""
        done = {id(item) for item in batch}
        others = [item for item in self._queue if id(item) not in done]
        self._queue.clear()
        self._queue.extend(others)
