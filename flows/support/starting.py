"""Runs that a run asks for: by their deployments, so that each has its own queue, login, limit and message."""

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
"""The flow that goes on with incidents."""
LEDGER_KEEPER: Final = "keep-ledger"
"""The flow that makes checkpoints."""
APART: Final = RETRY_EVERY
"""Runs that follow something begin at marks so far apart: however many ask for one, one begins at each."""
UNDER_WAY: Final = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)
LONGEST: Final = timedelta(hours=5)
"""No run is at work for so long: one that seems so has lost its process, whatever Prefect's server says of it."""
BEGINS_WITHIN: Final = timedelta(minutes=15)
"""A run that a worker has taken begins by then, or is marked as crashed: one that has not has lost its worker."""
MANY: Final = 100
"""Runs that are under way, and looked at, of one deployment."""


@dataclass(frozen=True)
class Wanted:
    """A run that is to begin: at once, or where ``at`` is said, then."""

    flow: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.flow} at {self.at:%H:%M} UTC" if self.at else self.flow


async def start_run(wanted: Wanted, by: str) -> bool:
    """Ask for a run, unless one that does the same is under way; false where it is.

    One that begins later is asked for once, whoever asks. One that begins now is asked for once ``by`` the same, such
    as a run that is carried out again.
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
    """Ask for a run; of all that are asked for with the same ``key`` there is one."""
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
    """Whether a run with these parameters is at work, waits, or begins at the next mark at the latest.

    One that has not changed for longer than any run takes is nobody's.
    """
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY)))
    of_deployment = FlowRunFilterDeploymentId(any_=[deployment])
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=states), limit=MANY
    )
    now = datetime.now(UTC)
    return any(run.parameters == parameters and is_near(run, now) for run in runs)


def is_near(run: FlowRun, now: datetime) -> bool:
    """Whether a run that has not ended begins soon, or may be at work."""
    if run.state_type == StateType.SCHEDULED:
        return run.expected_start_time is None or run.expected_start_time <= now + APART
    longest = BEGINS_WITHIN if run.state_type == StateType.PENDING else LONGEST
    return run.state is None or run.state.timestamp > now - longest


async def start_at_next_mark(flow: str) -> datetime | None:
    """Have the flow run at the next mark, once for all who ask until then; what hinders that hinders nothing here.

    Returns the mark, or None where the flow was not asked for: the next run of the keeper finds what it would have
    done. Nothing is asked for by a run outside Prefect's care.
    """
    if not is_deployed():
        return None
    mark = next_mark(datetime.now(UTC), APART)
    return mark if await start_later(Wanted(flow, at=mark)) else None


async def start_later(wanted: Wanted) -> bool:
    """The same at a moment of one's own; false where something hindered it."""
    try:
        await start_run(wanted, by="")
    except Exception as error:  # noqa: BLE001  whatever keeps Prefect from it
        get_run_logger().warning("%s is left to the next keeper: %s", wanted.words, type(error).__name__)
        return False
    return True


def is_deployed() -> bool:
    """Whether this is a run of a deployment."""
    run = FlowRunContext.get()
    return bool(run and run.flow_run and run.flow_run.deployment_id)
