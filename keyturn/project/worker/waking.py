"""Wakes a worker on Prefect's events; a broken stream costs the time between two polls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import httpx
from prefect.events.clients import PrefectEventSubscriber, get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.logging import get_logger

EVENTS: Final = ["prefect.flow-run.Scheduled"]
"""The event of a run that a worker may take, now or later."""

SETTLE: Final = 0.05
"""Seconds between two queries, because a schedule creates many runs at once."""

AGAIN: Final = 1.0
LONGEST: Final = 60.0
"""Seconds of the first and the longest pause before the stream reconnects."""

logger: Final = get_logger("keyturn.waking")


async def heed_events(pool: UUID, ask: Callable[[], Awaitable[object]]) -> None:
    """Call ``ask`` at each scheduled run of this pool, until cancelled."""
    due = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(pool, due))
        while True:
            await due.wait()
            due.clear()
            try:
                await ask()
            except httpx.HTTPError as error:
                logger.debug("The next poll asks again: %r", error)
            await asyncio.sleep(SETTLE)


async def _listen(pool: UUID, due: asyncio.Event) -> None:
    pause = AGAIN
    while True:
        try:
            async with _stream(pool) as events:
                pause = AGAIN
                async for _ in events:
                    due.set()
        except Exception as error:  # noqa: BLE001  the poll continues without the stream
            logger.debug("The stream of events has ended (%r), and is opened again in %s s", error, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST)


def _stream(pool: UUID) -> PrefectEventSubscriber:
    concerned = EventAnyResourceFilter(id=[f"prefect.work-pool.{pool}"])
    return get_events_subscriber(filter=EventFilter(event=EventNameFilter(name=EVENTS), any_resource=concerned))
