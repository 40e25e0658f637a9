"""Prepares the monitoring context of a run in advance, because it takes longer than a fork."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from prefect.runner._flow_run_executor import FlowRunExecutorContext

LATER: Final = 0.5
"""Seconds after a run's start until the next context is prepared."""


class Entered:
    """A context that one task enters and leaves, as its task groups require."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[FlowRunExecutorContext] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        try:
            async with FlowRunExecutorContext() as context:
                self.ready.set_result(context)
                await self._over.wait()
        except Exception as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)

    @property
    def stands(self) -> bool:
        return not self._task.done()

    async def leave(self) -> None:
        """Raises the error that ended the context before."""
        self._over.set()
        await self._task


class Contexts:
    """Gives each run its own context, and prepares the next one.

    A used context is a reference cycle of about 1 MB, which Python would collect only after some hundred runs.
    """

    def __init__(self) -> None:
        self._next: Entered | None = None
        self._later: asyncio.TimerHandle | None = None

    def prepare(self) -> Entered:
        if not (self._next and self._next.stands):
            self._next = Entered()
        return self._next

    @asynccontextmanager
    async def take(self) -> AsyncIterator[FlowRunExecutorContext]:
        """The context of one run. Raises the errors of entering it."""
        entered, self._next = self.prepare(), None
        self._put_off()
        try:
            yield await entered.ready
        finally:
            await asyncio.shield(entered.leave())
            gc.collect()

    def _put_off(self) -> None:
        if self._later:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(LATER, self.prepare)

    async def close(self) -> None:
        """Leave the unused context, and prepare no other."""
        if self._later:
            self._later.cancel()
        if self._next:
            with suppress(Exception):
                await self._next.leave()
