"""Follow the hub: a change reaches its copies, then its consumers, within seconds.

The work runs in this process, because a Prefect run takes seconds to start. The schedule repairs what keeps failing.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.rotation.state.context import Workspace
from keyturn.sync.batches import BatchOutcome, bring_in_step, concerns, tell_consumers, transient
from keyturn.sync.changes import EVERYTHING, MONOTONIC, ChangeSource, Clock
from keyturn.sync.lines import notice_lines, one_line, outcome_lines
from keyturn.sync.notices import Notices

GATHER: Final = 0.5
"""Seconds to gather further changes: a deployment writes many secrets at once."""

TICK: Final = 0.1
AT_ONCE: Final = 4
"""Concurrent batches, so that a hanging store doesn't block later changes."""

TELLERS: Final = 8
"""Concurrent batches of notices: a silent consumer may take a minute."""

TRIES: Final = 8
"""Attempts per change, over about two minutes, before the schedule takes over."""

PATIENCE: Final = 60.0
"""Seconds for a rotation in progress to push what it has written."""

RECHECK: Final = 1.0
LONGEST_WAIT: Final = 60.0

Say = Callable[[str], None]


@dataclass
class Waiting:
    """One changed secret: waiting since, due at, and failures."""

    since: float
    until: float
    tries: int = 0


@dataclass
class Follower:
    """Syncs the changes of a source to the stores, then notifies the consumers.

    ``say`` receives lines from one thread. ``workspace`` is called for every batch, and ``beat`` after every successful
    look.
    """

    workspace: Callable[[], Workspace]
    source: ChangeSource
    say: Say
    beat: Callable[[], None] = lambda: None
    clock: Clock = MONOTONIC
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _at_work: dict["Future[BatchOutcome]", dict[str, Waiting]] = field(default_factory=dict)
    _telling: dict["Future[Notices]", dict[str, Waiting]] = field(default_factory=dict)
    _look_at: float = float("-inf")
    _trouble: str = ""
    _failed_looks: int = 0
    _unreadable: int = 0
    _tell_unreadable_at: int = 1

    def run(self, stop: threading.Event) -> None:
        """Follow until ``stop`` is set, then finish running batches and store pending ones."""
        with ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(TELLERS) as tellers:
            while not stop.is_set():
                self._look()
                self._collect(tellers)
                self._begin(pool)
                stop.wait(TICK)
        self._collect(None)
        self._end()

    def _end(self) -> None:
        try:
            self.source.keep(self._pending())
        except KeyturnError as error:
            self._say_error(error)
        self.source.close()

    def _pending(self) -> set[str]:
        batches = (*self._at_work.values(), *self._telling.values())
        return self._waiting.keys() | {path for batch in batches for path in batch}

    def _look(self) -> None:
        """Read the changes if a look is due."""
        now = self.clock()
        if now < self._look_at:
            return
        try:
            news = self.source.look()
            self._note(news.paths)
            self._count(news.unreadable)
            self.source.keep(self._pending())
        except KeyturnError as error:
            self._in_trouble(error)
        else:
            self._look_at = now if news.more else now + self.source.pause
            self._out_of_trouble(news.errors)
            self.beat()

    def _in_trouble(self, error: KeyturnError) -> None:
        self._failed_looks += 1
        self._look_at = self.clock() + wait_after(self._failed_looks)
        self._tell_trouble((error,))

    def _out_of_trouble(self, left: Sequence[KeyturnError]) -> None:
        """Record a successful look, even of a part of the hub."""
        self._failed_looks = 0
        if self._trouble and not left:
            self.say("the hub's changes can be seen again")
        self._tell_trouble(left)

    def _tell_trouble(self, errors: Sequence[KeyturnError]) -> None:
        """Report errors that differ from the last ones."""
        before, self._trouble = self._trouble, "; ".join(map(str, errors))
        for error in errors if self._trouble != before else ():
            self._say_error(error)

    def _say_error(self, error: KeyturnError) -> None:
        self.say(f"error: {one_line(str(error))}")

    def _count(self, unreadable: int) -> None:
        self._unreadable += unreadable
        if unreadable and self._unreadable >= self._tell_unreadable_at:
            self.say(f"lines skipped so far that could not be read: {self._unreadable}")
            self._tell_unreadable_at = self._unreadable * 10

    def _note(self, paths: Iterable[str]) -> None:
        """Queue changes for a moment, ignoring secrets that no copy or consumer uses."""
        wanted = self._wanted(paths)
        if not wanted:
            return
        now = self.clock()
        gathering = [waiting.until for waiting in self._waiting.values() if not waiting.tries and waiting.until > now]
        until = min([now + GATHER, *gathering])
        for path in wanted:
            waiting = self._waiting.setdefault(path, Waiting(now, until))
            waiting.until = min(waiting.until, until)

    def _wanted(self, paths: Iterable[str]) -> list[str]:
        listed = list(paths)
        catalogue = self.workspace().catalogue if listed else None
        return [path for path in listed if path == EVERYTHING or (catalogue and concerns(catalogue, path))]

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Start the batches that are due and not already running."""
        now, busy = self.clock(), {path for batch in self._at_work.values() for path in batch}
        ready = [path for path, waiting in self._waiting.items() if waiting.until <= now and path not in busy]
        for paths in ([EVERYTHING], [path for path in ready if path != EVERYTHING]):
            if paths and len(self._at_work) < AT_ONCE and set(paths) <= set(ready):
                batch = {path: self._waiting.pop(path) for path in paths}
                patient = frozenset(path for path, waiting in batch.items() if now - waiting.since < PATIENCE)
                self._at_work[pool.submit(bring_in_step, self.workspace(), sorted(batch), patient)] = batch

    def _collect(self, tellers: Executor | None) -> None:
        """Collect finished work and queue its notices, without ``tellers`` for the next start."""
        for done in [future for future in self._at_work if future.done()]:
            batch, outcome = self._at_work.pop(done), done.result()
            self._settle(batch, outcome)
            if outcome.owing.paths:
                self._tell(tellers, {path: batch.get(path) or self._fresh() for path in outcome.owing.paths})
        for over in [future for future in self._telling if future.done()]:
            self._hear(self._telling.pop(over), over.result())

    def _fresh(self) -> Waiting:
        return Waiting(self.clock(), self.clock())

    def _settle(self, batch: dict[str, Waiting], outcome: BatchOutcome) -> None:
        """Report the outcome of a batch and queue retries."""
        for path in outcome.held:
            self._recheck(path, batch[path])
        for path in outcome.owing.held:
            self._recheck(path, batch.get(path) or self._fresh(), patience=PATIENCE)
        fates = {path: self._fate(path, batch.get(path), kind) for path, kind in outcome.broken(batch).items()}
        for line in outcome_lines(outcome, fates):
            self.say(line)

    def _recheck(self, path: str, waiting: Waiting, patience: float = float("inf")) -> None:
        """Check again in a moment, or leave it to the schedule after ``patience``."""
        now = self.clock()
        if now - waiting.since < patience:
            self._wait_again(path, Waiting(waiting.since, now + RECHECK, waiting.tries))

    def _tell(self, tellers: Executor | None, batch: dict[str, Waiting]) -> None:
        if tellers is None:
            return self._waiting.update({path: self._waiting.get(path, waiting) for path, waiting in batch.items()})
        self._telling[tellers.submit(tell_consumers, self.workspace(), sorted(batch))] = batch
        return None

    def _hear(self, batch: dict[str, Waiting], notices: Notices) -> None:
        """Report the notified consumers and queue retries."""
        for path in notices.held:
            self._recheck(path, batch[path], patience=PATIENCE)
        for path, seconds in notices.later.items():
            until = self.clock() + seconds
            self._wait_again(path, Waiting(until, until))
        kinds = {path: type(error).__name__ for path, error in notices.errors.items()}
        silent = sorted(
            (notified for notified in notices.told if notified.error), key=lambda notified: transient(notified.kind)
        )
        fates = {
            path: self._fate(path, batch.get(path), kind)
            for path, kind in (kinds | {notified.path: notified.kind for notified in silent}).items()
        }
        for line in notice_lines(notices, fates):
            self.say(line)

    def _fate(self, path: str, failed: Waiting | None, kind: str) -> str:
        """Describe what happens next to an unsynced secret."""
        tries, now = (failed.tries if failed else 0) + 1, self.clock()
        if not transient(kind) or tries >= TRIES:
            return "left to the scheduled sync"
        self._wait_again(path, Waiting(now, now + wait_after(tries), tries))
        return f"tried again in {wait_after(tries):g} s"

    def _wait_again(self, path: str, wait: Waiting) -> None:
        waiting = self._waiting.setdefault(path, wait)  # it may have changed again since
        waiting.tries = wait.tries


def wait_after(failures: int) -> float:
    """Seconds to wait after consecutive failures: 1, 2, 4, … up to 60."""
    return float(min(LONGEST_WAIT, 2.0 ** min(failures - 1, 16)))
