"""Processes that apply a plan's items side by side: one is held to a single core by the interpreter's lock."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Final, cast

from keyturn.core.actor import acting
from keyturn.core.errors import Unavailable
from keyturn.core.plan import Item
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.copies.push import CopyState
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result, result
from keyturn.sync.run import Executor, local_executor
from keyturn.sync.threads import Crew, ReportResult
from keyturn.sync_processes.scheduler import Worker, spread
from keyturn.sync_processes.worker import READY, Order, line_of

ENOUGH: Final = 1500
"""Items for which more processes are worth their start, which costs a second of a core."""

MOST: Final = 4


class Within:
    """The worker that this process is itself, for one run."""

    alive = True

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def when_ready(self, then: Callable[[], None]) -> None:
        """It is."""
        then()

    def give(self, items: list[Item], report: ReportResult) -> None:
        """Begin with a batch."""
        self._crew.take(items, report)


class Child:
    """One more process, and the items that it has not answered yet. Shared by threads."""

    def __init__(self, order: Order) -> None:
        command = [sys.executable, "-m", "keyturn.sync_processes.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=packages_directory()
        )
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._open: dict[tuple[str, str], tuple[Item, ReportResult]] = {}
        self._waiting: list[Callable[[], None]] | None = []
        self._lock = threading.Lock()
        self.alive = True
        with suppress(BrokenPipeError):
            pickle.dump(order, self._input)
            self._input.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def when_ready(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the process has opened its workspace."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(then)
                return
        then()

    def give(self, items: list[Item], report: ReportResult) -> None:
        """Have a batch applied. When the process dies before it answers, the answer says so."""
        with self._lock:
            self._open |= {(item.store, item.name): (item, report) for item in items}
            if self.alive:
                with suppress(BrokenPipeError):
                    self._input.write(line_of(items))
                    self._input.flush()
                    return
            self._give_up()

    def end(self) -> None:
        """Wait until it has finished."""
        with self._lock, suppress(BrokenPipeError):
            self._input.close()
        self._reader.join()
        self._output.close()
        self._process.wait()

    def _read(self) -> None:
        for line in self._output:
            if self._waiting is not None:
                self._begin(line)
                continue
            done = Result(**json.loads(line))
            with self._lock:
                request = self._open.pop((done.store, done.name), None)
            if request:  # else it was answered for already
                request[1](done)
        with self._lock:
            self._give_up()

    def _begin(self, line: bytes) -> None:
        if line.decode().strip() != READY:
            return
        with self._lock:
            waiting, self._waiting = self._waiting or [], None
        for then in waiting:
            then()

    def _give_up(self) -> None:
        """Answer for a process that is gone."""
        self.alive = False
        while self._open:
            _, (item, report) = self._open.popitem()
            hint = "The next run continues with what is left"
            error = Unavailable("push to", item.label, "the process that worked at it has ended", hint)
            report(result(item, str(CopyState.FAILED), error))


def packages_directory() -> str:
    """The directory that contains the packages."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@contextmanager
def executor(workspace: Workspace, items: int) -> Iterator[Executor]:
    """Applies so many items: in this process where they are few, else in one for each core, this one among them."""
    processes = min(os.cpu_count() or 1, MOST)
    if items < ENOUGH or processes < 2 or not isinstance(workspace.hub, VaultHub):
        yield local_executor(Applier(workspace))
        return
    order = Order(workspace.catalogue, workspace.hub.settings, 1 / processes, acting.get())
    children = [Child(order) for _ in range(processes - 1)]
    try:
        yield shared(Applier(workspace, order.share), children)
    finally:
        for child in children:
            child.end()


def shared(applier: Applier, children: Sequence[Child]) -> Executor:
    """Applies items in this process and in these."""

    def execute(items: Sequence[Item], report: ReportResult) -> None:
        with Crew(applier) as crew:
            workers: list[Worker] = [Within(crew), *children]
            spread(workers, items, report)

    return execute
