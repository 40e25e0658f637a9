"""Concurrency slots that only one run may hold, and that survive a loss of Prefect's leases.

If Prefect's lease store (Redis) loses its data, the slot of a dead run stays occupied for ever.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.concurrency.asyncio import concurrency
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

PATIENCE: Final = 60.0
"""Seconds between two checks."""

AT_WORK: Final = (StateType.RUNNING, StateType.CANCELLING)
"""States of a run that may hold a slot; a dead run leaves these within two minutes."""


@asynccontextmanager
async def hold_place(limit: str, patience: float = PATIENCE) -> AsyncIterator[None]:
    """Hold the limit's only slot during the body. Raises Prefect's error without such a limit.

    A failed renewal does not end the body. A slot that no run of this flow can hold is freed.
    """
    async with AsyncExitStack() as stack:
        watching = asyncio.create_task(free_while_waiting(limit, patience))
        try:
            taken = concurrency(limit, strict=True, raise_on_lease_renewal_failure=False)
            await stack.enter_async_context(taken)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        yield


async def free_while_waiting(limit: str, patience: float) -> None:
    while True:
        await asyncio.sleep(patience)
        try:
            await free_if_left(limit)
        except httpx.HTTPError as error:
            get_run_logger().debug("The next look asks again: %r", error)


async def free_if_left(limit: str) -> None:
    """Free the limit's slots if no other run of this flow is active."""
    run = current_run()
    if run is None:
        return
    async with get_client() as client:
        if await others_at_work(client, run):
            return
        await client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(active_slots=0))
    get_run_logger().warning("The place %s was free: its holder is gone, and Prefect did not know", limit)


async def others_at_work(client: PrefectClient, run: FlowRun) -> bool:
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[await flow_name(client, run)])),
        flow_run_filter=FlowRunFilter(
            id=FlowRunFilterId(not_any_=[run.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(AT_WORK))),
        ),
        limit=1,
    )
    return bool(runs)


async def flow_name(client: PrefectClient, run: FlowRun) -> str:
    return str((await client.read_flow(run.flow_id)).name)


def current_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None
