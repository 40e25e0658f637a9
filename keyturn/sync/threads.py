"""Threads that apply items, separate for each store.

New copies are made in batches, without reading each name first.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Final, Self

from keyturn.core.plan import Action, Item
from keyturn.rotation.copies.push import current
from keyturn.sync.apply import Applier, Made, Result
from keyturn.sync.pace import WIDEST
from keyturn.sync.readings import Readings

BATCH: Final = 50
"""New copies after which CURRENT is compared again."""

ReportResult = Callable[[Result], None]
"""Called for each finished copy, from any thread."""


class Crew:
    """The threads of one run or process. Leaving the context waits for all work."""

    def __init__(self, applier: Applier) -> None:
        self.applier = applier
        self.readings = Readings(partial(current, applier.workspace))
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._work: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                for work in self._work:
                    work.result()
        finally:
            for pool in self._pools.values():
                pool.shutdown(cancel_futures=True)

    def take(self, items: Sequence[Item], report: ReportResult) -> None:
        """Start these items of one store. Errors of ``report`` are raised on exit."""
        for batch in batches(items):
            part = BatchPart(self, len(batch), report)
            for item in batch:
                self._begin(item.store, partial(part.do, item))

    def _begin(self, store: str, work: Callable[[], None]) -> None:
        if store not in self._pools:
            self._pools[store] = ThreadPoolExecutor(WIDEST, thread_name_prefix=f"keyturn-{store}")
        # Each thread acts for the caller's identity.
        self._work.append(self._pools[store].submit(copy_context().run, work))


class BatchPart:
    """One batch, whose new copies are reported once CURRENT was compared again."""

    def __init__(self, crew: Crew, size: int, report: ReportResult) -> None:
        self._crew = crew
        self._left = size
        self._report = report
        self._made: list[Made] = []
        self._lock = threading.Lock()

    def do(self, item: Item) -> None:
        """Apply the item. The last one confirms the batch's new copies."""
        done = self._done(item)
        with self._lock:
            self._left -= 1
            over = not self._left
            if isinstance(done, Made):
                self._made.append(done)
        if isinstance(done, Result):
            self._report(done)
        if over:
            for result in self._crew.applier.confirm(self._made):
                self._report(result)

    def _done(self, item: Item) -> Result | Made:
        if item.action is Action.CREATE:
            return self._crew.applier.make(item, self._crew.readings.get)
        return self._crew.applier.apply(item)


def batches(items: Sequence[Item], size: int = BATCH) -> Iterator[list[Item]]:
    """The items in order, in lists of at most ``size``."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
