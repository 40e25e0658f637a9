"""Share one look among concurrent and closely following requests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from keyturn.client.clock import elapsed

T = TypeVar("T")

FRESH: Final = 10.0
"""Seconds for which a result or error is shown again: a look asks every store."""
PATIENCE: Final = 60.0
"""Seconds that a request waits. The look continues for later requests."""


class Looks(Generic[T]):
    """Shares looks in one event loop; ``look`` starts a look elsewhere."""

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Callable[[], float] = elapsed) -> None:
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def latest(self) -> T:
        """Return the latest result. Raises TimeoutError for a slow look, and its errors."""
        if self._task is None or (self._task.done() and self._clock() >= self._until):
            self._task = asyncio.create_task(self._begin())
            self._task.add_done_callback(_know)
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._task)

    async def _begin(self) -> T:
        try:
            return await self._look()
        finally:
            self._until = self._clock() + FRESH


def _know(task: "asyncio.Task[T]") -> None:
    """Retrieve the error of a look that no request may be waiting for."""
    if not task.cancelled():
        task.exception()
