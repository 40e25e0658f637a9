"""Two waits at the same time."""

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
