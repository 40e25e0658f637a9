"""Two waits at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS: Final = ThreadPoolExecutor(16, "keyturn-both")
"""They are kept: to begin one costs as much as a request to a hub near by."""


def both(first: Callable[[], T], second: Callable[[], R]) -> tuple[T, R]:
    """The results of the two; where a thread is free the second runs there meanwhile, else here afterwards.

    Of two errors the first one's is raised.
    """
    other = _THREADS.submit(copy_context().run, second)
    try:
        done = first()
    except BaseException:
        if not other.cancel():
            other.exception()
        raise
    return done, second() if other.cancel() else other.result()
