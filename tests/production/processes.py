"""A process that a supervisor would start again, with all that it has started."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local.support.process import Process

SLOW = 180
"""Seconds that a start may take where everything else is busy, too."""


@dataclass
class Supervised:
    """One process, and how it is started. ``ready`` is a line of its log, or what tells it."""

    process: Process
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: str | Callable[[], bool]

    def start(self) -> None:
        """Start it unless it runs, and return when it is ready."""
        ready = self.ready
        told = (lambda: self.process.says(ready)) if isinstance(ready, str) else ready
        self.process.start(
            self.command, ready=told, environment=self.environment, cwd=self.process.log.parent, timeout=SLOW
        )

    def kill(self) -> None:
        """SIGKILL, to it and to all that it has started, as when its machine is gone."""
        for pid in self.tree():
            send(pid, signal.SIGKILL)
        deadline = time.monotonic() + SLOW
        while self.process.pid is not None and time.monotonic() < deadline:
            time.sleep(0.02)

    def suspend(self) -> list[int]:
        """SIGSTOP to it and to all that it has started, which is told."""
        tree = self.tree()
        for pid in tree:
            send(pid, signal.SIGSTOP)
        return tree

    def end(self) -> None:
        """Stop it and all that is left of it. Absent is success."""
        tree = self.tree()
        for pid in tree:
            send(pid, signal.SIGCONT)
        self.process.stop(signal.SIGTERM, timeout=5)
        for pid in tree:
            send(pid, signal.SIGKILL)

    def tree(self) -> list[int]:
        """Its pid and those of all that it has started, itself first; none where it does not run."""
        pid = self.process.pid
        return [] if pid is None else [pid, *descendants(pid)]


def resume(pids: Sequence[int]) -> None:
    """SIGCONT."""
    for pid in pids:
        send(pid, signal.SIGCONT)


def send(pid: int, number: signal.Signals) -> None:
    """Gone is success."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def descendants(pid: int) -> Iterator[int]:
    """Children, and theirs."""
    parents = dict(parents_of_all())
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, its in parents.items() if its == parent]
        yield from children
        waiting += children


def parents_of_all() -> Iterator[tuple[int, int]]:
    """Each process with its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
