"""One look at everything for all who ask at once, and for those who ask a moment later."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from keyturn.client.clock import elapsed

T = TypeVar("T")

FRESH: Final = 10.0
"""Seconds for which what was seen, or why nothing was, is shown again: looking asks the hub and every store."""
PATIENCE: Final = 60.0
"""Seconds that somebody waits for a look; it goes on, and whoever asks again gets what it comes to."""


class Looks(Generic[T]):
    """Used in one event loop; ``look`` starts a look elsewhere."""

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Callable[[], float] = elapsed) -> None:
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def latest(self) -> T:
        """What was seen last. Raises TimeoutError where that takes long, and what looking raises."""
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
    """Nobody may wait for it any more: then its error is nobody's."""
    if not task.cancelled():
        task.exception()
