"""What watches over a run from the worker, entered before there is a run: its connections take longer than a fork."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prefect.runner._flow_run_executor import FlowRunExecutorContext


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
    """Gives each run a context of its own, of which the next one is always entered already.

    One that was left is a ring of objects with a TLS context in it, a megabyte in all. Python looks for rings once a
    quarter of all its objects are new, which takes a worker some hundred runs: so it is told to when one has ended.
    """

    def __init__(self) -> None:
        self._next: Entered | None = None

    def prepare(self) -> Entered:
        """The next one, which is entered unless it stands already."""
        if not (self._next and self._next.stands):
            self._next = Entered()
        return self._next

    @asynccontextmanager
    async def take(self) -> AsyncIterator[FlowRunExecutorContext]:
        """The context of one run. Raises what entering it raises."""
        entered, self._next = self.prepare(), None
        try:
            context = await entered.ready
            self.prepare()
            yield context
        finally:
            await asyncio.shield(entered.leave())
            gc.collect()

    async def close(self) -> None:
        """Leave the one that no run has taken."""
        if self._next:
            with suppress(Exception):
                await self._next.leave()
