"""Starts runs through their deployments."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.deployments import arun_deployment
from prefect.logging import get_run_logger

from keyturn.core.marks import next_mark
from keyturn.revocation.incidents.incident import RETRY_EVERY
from tasks.workspace import names

FINISHER: Final = "finish-incidents"
LEDGER_KEEPER: Final = "keep-ledger"
APART: Final = RETRY_EVERY
"""The interval of marks; all requests until a mark share one run."""
UNDER_WAY: Final = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
LONGEST: Final = timedelta(hours=5)
"""A longer run has lost its process."""
BEGINS_WITHIN: Final = timedelta(minutes=15)
"""A run that a worker took starts within this time, or has lost its worker."""
MANY: Final = 100


@dataclass(frozen=True)
class Wanted:
    """A run to start now, or at ``at``."""

    flow: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def words(self) -> str:
        return f"{self.flow} at {self.at:%H:%M} UTC" if self.at else self.flow


async def start_run(wanted: Wanted, by: str) -> bool:
    """Request a run; False if an equal one is active.

    Requests for the same later time share one run, as do requests for now with an equal ``by``.
    """
    deployed, parameters = names().deployed(wanted.flow), dict(wanted.parameters)
    when = f"at {wanted.at.isoformat()}" if wanted.at else f"by {by}"
    if wanted.at is None:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(deployed)
            if await is_under_way(client, deployment.id, parameters):
                return False
    await ask_for_run(wanted, f"{deployed} {json.dumps(parameters, sort_keys=True)} {when}")
    return True


async def ask_for_run(wanted: Wanted, key: str | None = None) -> None:
    deployed, parameters = names().deployed(wanted.flow), dict(wanted.parameters)
    async with get_client() as client:
        await arun_deployment(
            deployed,
            client=client,
            parameters=parameters,
            scheduled_time=wanted.at,
            timeout=0,
            as_subflow=False,
            idempotency_key=key,
        )


async def is_under_way(client: PrefectClient, deployment: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether a run with these parameters is active, or starts by the next mark.

    A run without a change for longer than any run takes does not count.
    """
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY)))
    of_deployment = FlowRunFilterDeploymentId(any_=[deployment])
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=states), limit=MANY
    )
    now = datetime.now(UTC)
    return any(run.parameters == parameters and is_near(run, now) for run in runs)


def is_near(run: FlowRun, now: datetime) -> bool:
    if run.state_type == StateType.SCHEDULED:
        return run.expected_start_time is None or run.expected_start_time <= now + APART
    longest = BEGINS_WITHIN if run.state_type == StateType.PENDING else LONGEST
    return run.state is None or run.state.timestamp > now - longest


async def start_at_next_mark(flow: str) -> datetime | None:
    """Start the flow at the next mark, once for all requests until then.

    Returns the mark, or None on failure or outside Prefect; the next keeper then finds the work.
    """
    if not is_deployed():
        return None
    mark = next_mark(datetime.now(UTC), APART)
    return mark if await start_later(Wanted(flow, at=mark)) else None


async def start_later(wanted: Wanted) -> bool:
    """Start a run at its own time; False if the request failed."""
    try:
        await start_run(wanted, by="")
    except Exception as error:  # noqa: BLE001  whatever keeps Prefect from it
        get_run_logger().warning("%s is left to the next keeper: %s", wanted.words, type(error).__name__)
        return False
    return True


def is_deployed() -> bool:
    run = FlowRunContext.get()
    return bool(run and run.flow_run and run.flow_run.deployment_id)
