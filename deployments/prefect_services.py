"""``python -m deployments.prefect_services``: ``prefect server services start`` that survives a Redis data loss.

Prefect plans each service's next round in Redis (Docket). If Redis loses its data, all services stop, while each
process looks healthy. So this process keeps a mark next to the plans, and restarts if the mark is lost or a service
ends.
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
"""The key of the mark, shared by all processes."""
EVERY: Final = 2.0
"""Seconds between two checks."""
PATIENCE: Final = 10.0
"""Seconds for one request to Redis."""
STARTED: Final = ".start"
LOCAL: Final = "memory://"
NOWHERE: Final = """\
error: start Prefect's services: their plans are in no Redis
remedy: Set PREFECT_SERVER_DOCKET_URL, see docs/production.md
"""

logger: Final = get_logger("keyturn.prefect-services")


class Plans:
    """The mark next to the plans; ``redis`` is a ``redis.asyncio`` client."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._mark: bytes | str | None = None

    async def begin(self) -> None:
        await self._redis.set(MARK, secrets.token_hex(8), nx=True)
        self._mark = await self._redis.get(MARK)

    async def lost(self) -> None:
        """Return once this process's plans are lost. An unreachable Redis proves nothing."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                async with asyncio.timeout(PATIENCE):
                    if await self._redis.get(MARK) != self._mark:
                        return
            except Exception as error:  # noqa: BLE001  whatever keeps Redis from answering
                logger.warning("Redis does not answer: %s", type(error).__name__)


async def serve(services: Callable[[], Awaitable[None]], plans: Plans) -> None:
    """Run the services until their plans are lost or one of them ends. Raises their common error."""
    await plans.begin()
    begun = begun_from_now()
    running = asyncio.ensure_future(services())
    watching = [asyncio.create_task(plans.lost()), asyncio.create_task(one_ends(begun))]
    await asyncio.wait((running, *watching), return_when=asyncio.FIRST_COMPLETED)
    for watch in watching:
        watch.cancel()
    if running.done():
        await running
    # Otherwise they are not stopped cleanly: they would write to the lost plans.


def begun_from_now() -> "set[asyncio.Task[Any]]":
    """A set that receives each service's task at its start, because one may end at once."""
    begun: set[asyncio.Task[Any]] = set()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **told: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=loop, **told)
        if name_of(task).endswith(STARTED):
            begun.add(task)
        return task

    asyncio.get_running_loop().set_task_factory(make)
    return begun


async def one_ends(begun: "set[asyncio.Task[Any]]") -> None:
    """Return once a service has ended, for example after a database outage.

    The method ``start`` of a service never returns while the service is healthy.
    """
    while True:
        await asyncio.sleep(EVERY)
        if ended := [task for task in begun if task.done()]:
            logger.warning("Ended by itself: %s", ", ".join(sorted(map(end_of, ended))))
            return


def end_of(task: "asyncio.Task[Any]") -> str:
    """The name and error type; the error's text may contain sent data."""
    error = task.exception() if task.done() and not task.cancelled() else None
    return f"{name_of(task)} ({type(error).__name__})" if error else name_of(task)


def name_of(task: "asyncio.Task[Any]") -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))


def main() -> int:
    """Serve until SIGINT; 2 if the plans are in no Redis."""
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
    logger.warning("Redis has lost the plans of Prefect's services, or one of them has ended: they are restarted")
    return begin_anew()


def begin_anew() -> NoReturn:
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
