"""Places of a limit at Prefect that only one run may have, and that outlive what Prefect forgets of them.

Prefect counts the places that are taken in its database, and who has them in its store of leases. Where that store has
lost its leases (Redis was emptied, or came back without its data), a place whose run has died is nobody's and stays
taken for good: nothing of Prefect's own gives it back.
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
"""Seconds between two looks whether anybody has the place that is waited for."""

AT_WORK: Final = (StateType.RUNNING, StateType.CANCELLING)
"""A run that may have a place: one whose process is gone leaves these within two minutes."""


@asynccontextmanager
async def hold_place(limit: str, patience: float = PATIENCE) -> AsyncIterator[None]:
    """The one place of this limit, for as long as the body takes. Raises what Prefect does where there is no limit.

    It is a courtesy, so a server that fails to renew it does not end the body. One that no run of the same flow can
    have is given back, and taken.
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
    """Look again and again, until this is cancelled, whether anybody has the place that is waited for."""
    while True:
        await asyncio.sleep(patience)
        try:
            await free_if_left(limit)
        except httpx.HTTPError as error:
            get_run_logger().debug("The next look asks again: %r", error)


async def free_if_left(limit: str) -> None:
    """Give the places of the limit back if no other run of this flow is at work; a run outside Prefect gives none."""
    run = current_run()
    if run is None:
        return
    async with get_client() as client:
        if await others_at_work(client, run):
            return
        await client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(active_slots=0))
    get_run_logger().warning("The place %s was nobody's: whoever had it is gone, and Prefect did not know of it", limit)


async def others_at_work(client: PrefectClient, run: FlowRun) -> bool:
    """Whether another run of the same flow is at work, of whichever deployment."""
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
    """What the flow of a run is called."""
    return str((await client.read_flow(run.flow_id)).name)


def current_run() -> FlowRun | None:
    """This run, where Prefect has it."""
    context = FlowRunContext.get()
    return context.flow_run if context else None
