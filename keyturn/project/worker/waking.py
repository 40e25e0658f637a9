"""A worker that asks for runs when there are some: Prefect's event stream says so, where its poll would find out later.

The poll goes on besides. A stream that breaks costs the seconds between two polls, and no run.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import httpx
from prefect.events.clients import PrefectEventSubscriber, get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.logging import get_logger

EVENTS: Final = ["prefect.flow-run.Scheduled"]
"""What the server says of a run that a worker may take, now or when its time comes."""

SETTLE: Final = 0.05
"""Seconds between two times of asking: a schedule asks for many runs at once, and all events after the first are one
reason to ask again."""

AGAIN: Final = 1.0
LONGEST: Final = 60.0
"""Seconds until a stream that has ended is opened again, twice as long each time, and at most."""

logger: Final = get_logger("keyturn.waking")


async def heed_events(pool: UUID, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask for runs whenever the server tells that one of this pool is scheduled, until this is cancelled."""
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
        except Exception as error:  # noqa: BLE001  whatever ends the stream, the poll goes on
            logger.debug("The stream of events has ended (%r), and is opened again in %s s", error, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST)


def _stream(pool: UUID) -> PrefectEventSubscriber:
    concerned = EventAnyResourceFilter(id=[f"prefect.work-pool.{pool}"])
    return get_events_subscriber(filter=EventFilter(event=EventNameFilter(name=EVENTS), any_resource=concerned))
