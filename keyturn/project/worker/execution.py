"""What watches over a run from the worker, entered before there is a run: its connections take longer than a fork."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from prefect.runner._flow_run_executor import FlowRunExecutorContext

LATER: Final = 0.5
"""Seconds after a run was taken until the next context is entered: the beginning of that run goes before it."""


class Entered:
    """One context, which is left by the task that has entered it, as its task groups ask for."""

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
        """Whether it can be used, or will be."""
        return not self._task.done()

    async def leave(self) -> None:
        """Leave it, and return when that is done. Raises what has ended it before."""
        self._over.set()
        await self._task


class Contexts:
    """Gives each run a context of its own, of which the next one is soon entered again.

    One that was left is a ring of objects with a TLS context in it, a megabyte in all. Python looks for rings once a
    quarter of all its objects are new, which takes a worker some hundred runs: so it is told to when one has ended.
    """

    def __init__(self) -> None:
        self._next: Entered | None = None
        self._later: asyncio.TimerHandle | None = None

    def prepare(self) -> Entered:
        """The next one, which is entered unless it stands already."""
        if not (self._next and self._next.stands):
            self._next = Entered()
        return self._next

    @asynccontextmanager
    async def take(self) -> AsyncIterator[FlowRunExecutorContext]:
        """The context of one run. Raises what entering it raises."""
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
        """Leave the one that no run has taken, and enter no other."""
        if self._later:
            self._later.cancel()
        if self._next:
            with suppress(Exception):
                await self._next.leave()
