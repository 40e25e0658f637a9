"""Progress over many copies, with the expected end."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keyturn.cli.output import note
from keyturn.core.plan import Plan
from keyturn.core.text.spans import span
from keyturn.rotation.state.context import Workspace
from keyturn.sync import run
from keyturn.sync.apply import Result

if TYPE_CHECKING:
    from keyturn.sync.notices import Notices

EVERY: Final = 5.0
"""Seconds between two lines."""
SHOWN: Final = 20
"""The most notified consumers to name."""


class Progress:
    """Counts results from any thread and prints a line every few seconds; quick work prints nothing."""

    def __init__(
        self, total: int, say: Callable[[str], None] = note, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._done = self._failed = 0
        self._began = self._said = clock()

    def __call__(self, result: Result) -> None:
        with self._lock:
            self._done += 1
            self._failed += bool(result.error)
            now = self._clock()
            if now - self._said >= EVERY and self._done < self._total:
                self._said = now
                self._say(self._line(now - self._began))

    def _line(self, took: float) -> str:
        left = timedelta(seconds=took / self._done * (self._total - self._done))
        failed = f", {self._failed} failed" if self._failed else ""
        return f"  {self._done} of {self._total} copies{failed}; done in about {span(left)} at this pace"


def notify_consumers(workspace: Workspace, planned: Plan, results: Sequence[Result]) -> "Notices":
    """Notify consumers of values that people wrote, once every copy serves them."""
    from keyturn.sync.notices import Notices, tell_written
    from keyturn.sync.pending_notices import owing

    owed = owing(workspace, planned, results)
    notices = tell_written(workspace, owed.paths) if owed.paths else Notices()
    return replace(notices, errors={**owed.errors, **notices.errors})


def notice_lines(notices: "Notices") -> list[str]:
    well = [notice for notice in notices.told if not notice.error]
    lines = [f"notified {notice.consumer} of version {notice.version} of {notice.path}" for notice in well[:SHOWN]]
    return lines + ([f"notified {len(well) - SHOWN} more"] if len(well) > SHOWN else [])


def apply_plan(workspace: Workspace, planned: Plan) -> list[Result]:
    """Apply a plan in processes of this machine, with progress."""
    from keyturn.sync_processes.executor import executor

    work = len(run.work_of(workspace, planned))
    with executor(workspace, work) as execute:
        return run.carry_out(workspace, planned, execute, Progress(work))
