"""Who of several workers does which items: each has a part of the work, and takes of others' when its own is done."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

from keyturn.core.plan import Item
from keyturn.sync.apply import Result
from keyturn.sync.run import by_store
from keyturn.sync.threads import BATCH, ReportResult, batches


class Worker(Protocol):
    """Applies batches of items. Shared by threads."""

    @property
    def alive(self) -> bool:
        """Whether it can be given anything."""

    def when_ready(self, then: Callable[[], None]) -> None:
        """Call ``then`` once it can begin, perhaps at once, perhaps never."""

    def give(self, items: list[Item], report: ReportResult) -> None:
        """Begin with a batch of one store; returns at once. Each item is reported, whatever becomes of the worker."""


class Dealer:
    """The batches that no worker has yet. Each worker's part is the same range of every store's items.

    So the copies of one secret go to one worker, which reads its value once.
    """

    def __init__(self, items: Sequence[Item], workers: int) -> None:
        self._parts = {
            store: [deque(part) for part in _parts(same, workers)] for store, same in by_store(items).items()
        }

    @property
    def stores(self) -> list[str]:
        """The stores of the items."""
        return list(self._parts)

    def next(self, worker: int, store: str, busy: int) -> list[Item]:
        """Return a batch for a worker that is ``busy`` with so many items of the store; empty if it gets none now.

        A worker has at most one batch waiting. One that has finished its own part takes from the end of the longest.
        """
        own, longest = self._parts[store][worker], max(self._parts[store], key=len)
        if own:
            return own.popleft() if busy <= BATCH else []
        return longest.pop() if longest and not busy else []


def spread(workers: Sequence[Worker], items: Sequence[Item], report: ReportResult) -> None:
    """Have all items applied, and report each from this thread."""
    dealer, answers = Dealer(items, len(workers)), SimpleQueue[tuple[int, Result | None]]()
    open_ones: Counter[tuple[int, str]] = Counter()

    def feed(number: int, store: str) -> None:
        worker = workers[number]
        while worker.alive and (batch := dealer.next(number, store, open_ones[number, store])):
            open_ones[number, store] += len(batch)
            worker.give(batch, lambda result: answers.put((number, result)))

    for number, worker in enumerate(workers):
        worker.when_ready(lambda number=number: answers.put((number, None)))  # type: ignore[misc]
    left = len(items)
    while left:
        number, result = answers.get()
        for store in dealer.stores if result is None else [result.store]:
            open_ones[number, store] -= result is not None
            feed(number, store)
        if result is not None:
            left -= 1
            report(result)


def _parts(items: Sequence[Item], workers: int) -> list[list[list[Item]]]:
    """One part for each worker, in batches."""
    size = -(-len(items) // workers)
    return [list(batches(items[number * size : (number + 1) * size])) for number in range(workers)]
