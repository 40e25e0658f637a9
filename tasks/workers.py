"""Processes that apply a plan's items side by side: one is held to a single core by the interpreter's lock."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import cycle
from typing import IO, Final, cast

from keyturn.core.errors import Unavailable
from keyturn.core.plan import Item
from keyturn.providers.vault import VaultHub
from keyturn.rotation.context import Keyturn
from keyturn.rotation.sync import CopyState
from keyturn.sync.apply import Applier, Result, result
from keyturn.sync.run import Executor, Report, here
from tasks.worker import Order

ENOUGH: Final = 150
"""Items for which more processes are worth their start."""

MOST: Final = 4


class Worker:
    """One process, and the items that it has not answered yet. Shared by threads."""

    def __init__(self, order: Order) -> None:
        command = [sys.executable, "-m", "tasks.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root())
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._open: dict[tuple[str, str], tuple[Item, Future[Result]]] = {}
        self._lock = threading.Lock()
        pickle.dump(order, self._input)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def submit(self, item: Item) -> "Future[Result]":
        """Have it applied. When the process dies before it answers, the answer says so."""
        future: Future[Result] = Future()
        with self._lock:
            self._open[item.store, item.name] = (item, future)
            try:
                self._input.write(json.dumps(asdict(item)).encode() + b"\n")
                self._input.flush()
            except BrokenPipeError:
                self._give_up()
        return future

    def end(self) -> None:
        """Let it finish, and wait for it."""
        with self._lock, suppress(BrokenPipeError):
            self._input.close()
        self._reader.join()
        self._output.close()
        self._process.wait()

    def _read(self) -> None:
        for line in self._output:
            done = Result(**json.loads(line))
            with self._lock:
                _, future = self._open.pop((done.store, done.name))
            future.set_result(done)
        with self._lock:
            self._give_up()

    def _give_up(self) -> None:
        """Answer for a process that is gone."""
        while self._open:
            _, (item, future) = self._open.popitem()
            hint = "The next run goes on with what is left"
            error = Unavailable("push to", item.label, "the process that worked at it has ended", hint)
            future.set_result(result(item, str(CopyState.FAILED), error))


def root() -> str:
    """The directory that the packages lie in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@contextmanager
def executor(keyturn: Keyturn, items: int) -> Iterator[Executor]:
    """Applies so many items: in this process where they are few, else in one for each core."""
    processes = min(os.cpu_count() or 1, MOST)
    if items < ENOUGH or processes < 2 or not isinstance(keyturn.hub, VaultHub):
        yield here(Applier(keyturn))
        return
    order = Order(keyturn.catalogue, keyturn.hub.settings, 1 / processes)
    workers = [Worker(order) for _ in range(processes)]
    try:
        yield lambda items, report: _spread(workers, items, report)
    finally:
        for worker in workers:
            worker.end()


def _spread(workers: Sequence[Worker], items: Sequence[Item], report: Report) -> None:
    futures = [worker.submit(item) for worker, item in zip(cycle(workers), items, strict=False)]
    for future in as_completed(futures):
        report(future.result())
