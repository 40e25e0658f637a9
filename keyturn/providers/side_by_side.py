"""Concurrent waits."""

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
    """Without names that raise NotFound."""
    values: dict[str, Sensitive] = {}

    def keep(remote: str) -> None:
        with suppress(NotFound):
            values[remote] = read(remote)

    with ThreadPoolExecutor(threads) as pool:
        # Raises the first error and abandons the waiting calls.
        list(pool.map(keep, dict.fromkeys(remotes)))
    return values


def both(first: Callable[[], T], second: Callable[[], R]) -> tuple[T, R]:
    """Of two errors it raises the first's. An error of ``first`` does not wait for ``second``."""
    other: Future[R] = Future()

    def run() -> None:
        try:
            other.set_result(second())
        except BaseException as error:  # noqa: BLE001  `result` raises it
            other.set_exception(error)

    Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return first(), other.result()
