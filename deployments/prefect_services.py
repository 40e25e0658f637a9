"""``python -m deployments.prefect_services``: ``prefect server services start`` that outlives what Redis forgets.

Prefect plans each service's next round in Redis (Docket), at the end of the one before. Where Redis is emptied, or
comes back without its data, all those plans are gone: the schedules, late runs, silent runs, leases and retention stand
still for good, while each process looks well. So a mark is kept beside the plans, and where it is gone, or another's,
this process begins anew and plans all of them again. It does so, too, where one of the services ends by itself.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from prefect.cli._server_utils import _run_all_services
from prefect.logging import get_logger
from prefect.settings.context import get_current_settings

MARK: Final = "keyturn:prefect-services"
"""The key of the mark; all processes that plan in one Redis know the same one."""
EVERY: Final = 2.0
"""Seconds between two looks."""
PATIENCE: Final = 10.0
"""Seconds for one question to Redis."""
STARTED: Final = ".start"
"""How the names of the services' methods end."""
LOCAL: Final = "memory://"
NOWHERE: Final = """\
error: start Prefect's services: their plans are in no Redis
remedy: Set PREFECT_SERVER_DOCKET_URL, see docs/production.md
"""

logger: Final = get_logger("keyturn.prefect-services")


class Plans:
    """The mark beside the plans in the Redis of this client (``redis.asyncio``)."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._mark: bytes | str | None = None

    async def begin(self) -> None:
        """Know the mark, which the first process makes. Raises what Redis does."""
        await self._redis.set(MARK, secrets.token_hex(8), nx=True)
        self._mark = await self._redis.get(MARK)

    async def lost(self) -> None:
        """Return once the plans of this process are gone. While Redis does not answer nothing is known."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                async with asyncio.timeout(PATIENCE):
                    if await self._redis.get(MARK) != self._mark:
                        return
            except Exception as error:  # noqa: BLE001  whatever keeps Redis from answering
                logger.warning("Redis does not answer: %s", type(error).__name__)


async def serve(services: Callable[[], Awaitable[None]], plans: Plans) -> None:
    """Run the services until their plans are lost, or one of them ends. Raises what all of them do."""
    await plans.begin()
    begun = begun_from_now()
    running = asyncio.ensure_future(services())
    watching = [asyncio.create_task(plans.lost()), asyncio.create_task(one_ends(begun))]
    await asyncio.wait((running, *watching), return_when=asyncio.FIRST_COMPLETED)
    for watch in watching:
        watch.cancel()
    if running.done():
        await running
    # Else they are not told to end: what they would write belongs to plans that are gone.


def begun_from_now() -> "set[asyncio.Task[Any]]":
    """The tasks of services, each from its first moment on: one may end before anybody looks."""
    begun: set[asyncio.Task[Any]] = set()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **told: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=loop, **told)
        if name_of(task).endswith(STARTED):
            begun.add(task)
        return task

    asyncio.get_running_loop().set_task_factory(make)
    return begun


async def one_ends(begun: "set[asyncio.Task[Any]]") -> None:
    """Return once one of the services has ended, such as over a database that was away; Prefect looks at none of them.

    Each is a task of its method ``start``, which never returns while it is well.
    """
    while True:
        await asyncio.sleep(EVERY)
        if ended := [task for task in begun if task.done()]:
            logger.warning("Ended by itself: %s", ", ".join(sorted(map(end_of, ended))))
            return


def end_of(task: "asyncio.Task[Any]") -> str:
    """What it carried out, and by which kind of error it ended; an error's own words may hold what was sent."""
    error = task.exception() if task.done() and not task.cancelled() else None
    return f"{name_of(task)} ({type(error).__name__})" if error else name_of(task)


def name_of(task: "asyncio.Task[Any]") -> str:
    """What the task carries out, such as ``ReactiveTriggers.start``."""
    return str(getattr(task.get_coro(), "__qualname__", ""))


def main() -> int:
    """Serve until SIGINT; 2 where there is nothing to watch over."""
    url = get_current_settings().server.docket.url
    if url.startswith(LOCAL):
        sys.stderr.write(NOWHERE)
        return 2
    from prefect_redis.connection import redis_from_url  # type: ignore[import-untyped]  # it has no types

    plans = Plans(redis_from_url(url, asynchronous=True, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        asyncio.new_event_loop().run_until_complete(serve(_run_all_services, plans))
    except KeyboardInterrupt:
        return 0
    logger.warning("Redis has lost the plans of Prefect's services, or one of them has ended: they begin anew")
    return begin_anew()


def begin_anew() -> NoReturn:
    """The same process with the same command, and nothing of what it knew."""
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
