"""Crashes runs without a process that Prefect's automations missed.

The automations of :mod:`deployments.silence` depend on events, which can be lost. The run would keep its slot for ever,
and block its deployment. So every worker of the pool queries the database for such runs.
"""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.logging import get_logger
from prefect.states import Crashed

from keyturn.project.runs.heartbeat import HEARTBEAT

EVERY: Final = 60.0
LEFT: Final = timedelta(minutes=6)
"""The age without a sign of life; the automations act within five minutes."""
MANY: Final = 100
PROBE: Final = "keyturn.worker.probe"
"""The event that tests the delivery of events."""
ARRIVES_WITHIN: Final = 30
"""Seconds."""

NEVER_BEGUN: Final = "Its worker has taken it, and never begun it."
SILENT: Final = "The run's process sends no heartbeat any more."

logger: Final = get_logger("keyturn.leftovers")


async def crash_leftovers(client: PrefectClient, pool: str) -> None:
    while True:
        await asyncio.sleep(EVERY)
        try:
            await crash_left(client, pool, datetime.now(UTC))
        except httpx.HTTPError as error:
            logger.debug("The next look asks again: %r", error)


async def crash_left(client: PrefectClient, pool: str, now: datetime) -> list[str]:
    """Crash the dead runs of the pool; the names of the runs."""
    old = [run for run in await under_way(client, pool) if run.state and run.state.timestamp < now - LEFT]
    pending = [run for run in old if run.state_type == StateType.PENDING]
    silent = await silent_runs(client, [run for run in old if run.state_type == StateType.RUNNING], now)
    for run, words in [*((run, NEVER_BEGUN) for run in pending), *((run, SILENT) for run in silent)]:
        await client.set_flow_run_state(run.id, Crashed(message=words))
        logger.warning("The run %s is crashed: %s", run.name, words)
    return [run.name for run in (*pending, *silent)]


async def under_way(client: PrefectClient, pool: str) -> list[FlowRun]:
    states = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
    return list(
        await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=states)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            limit=MANY,
        )
    )


async def silent_runs(client: PrefectClient, runs: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """The runs without a recent heartbeat; none if events do not arrive."""
    silent = [run for run in runs if not await beats(client, run, now)]
    if not silent or not await events_arrive(client):
        return []
    # Heartbeats sent in the meantime arrived before the probe.
    return [run for run in silent if not await beats(client, run, now)]


async def beats(client: PrefectClient, run: FlowRun, now: datetime) -> bool:
    return await has_event(client, HEARTBEAT, f"prefect.flow-run.{run.id}", now - LEFT)


async def events_arrive(client: PrefectClient) -> bool:
    """Whether a new event can be read shortly after."""
    began, probe = datetime.now(UTC), f"{PROBE}.{secrets.token_hex(8)}"
    await client._client.post("/events", json=[event_of(PROBE, probe, began)])
    for _ in range(ARRIVES_WITHIN):
        await asyncio.sleep(1)
        if await has_event(client, PROBE, probe, began - timedelta(minutes=1)):
            return True
    return False


def event_of(name: str, resource: str, occurred: datetime) -> dict[str, Any]:
    about = {"prefect.resource.id": resource}
    return {"event": name, "resource": about, "occurred": occurred.isoformat(), "id": str(uuid4())}


async def has_event(client: PrefectClient, event: str, resource: str, since: datetime) -> bool:
    query = {"event": {"name": [event]}, "resource": {"id": [resource]}, "occurred": {"since": since.isoformat()}}
    answer = await client._client.post("/events/filter", json={"filter": query, "limit": 1})
    answer.raise_for_status()
    return bool(answer.json()["events"])
