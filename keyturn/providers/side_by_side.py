"""Waiting for several answers at the same time: many secrets of a service that gives them out one by one, or two."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

from keyturn.core.errors import NotFound
from keyturn.core.sensitive import Sensitive

T = TypeVar("T")
R = TypeVar("R")


def read_side_by_side(read: Callable[[str], Sensitive], remotes: Sequence[str], threads: int) -> dict[str, Sensitive]:
    """What ``read`` gives for each name, so many at a time; what it calls NotFound is left out."""
    values: dict[str, Sensitive] = {}

    def keep(remote: str) -> None:
        with suppress(NotFound):
            values[remote] = read(remote)

    with ThreadPoolExecutor(threads) as pool:
        # Raises what one of them raised, and then lets go of those that wait.
        list(pool.map(keep, dict.fromkeys(remotes)))
    return values


def both(first: Callable[[], T], second: Callable[[], R]) -> tuple[T, R]:
    """The results of the two, of which the second runs in a thread; of two errors the first one's is raised.

    An error of the first, such as an interrupt, does not wait for the second, which should change nothing.
    """
    other: Future[R] = Future()

    def run() -> None:
        try:
            other.set_result(second())
        except BaseException as error:  # noqa: BLE001  it is raised by whoever asks for the result
            other.set_exception(error)

    Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return first(), other.result()
