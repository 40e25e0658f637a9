"""Check every duty and start the needed runs."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import httpx
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.logging import get_run_logger

from flows.support.common import flow, well, workspace
from flows.support.duties import DUTIES, Duty, all_duties
from flows.support.duties import incidents as look_at_incidents
from flows.support.starting import Wanted, start_run
from keyturn.catalogue import CatalogueInvalid
from keyturn.core.errors import KeyturnError, TransientError, unexpected
from keyturn.core.marks import has_come_round
from keyturn.project.runs.places import current_run
from keyturn.rotation.state.context import Workspace
from tasks.revocation import lenient_workspace

NAME: Final = "keeper"
LONGEST: Final = timedelta(minutes=10)
"""The time limit of one check."""
UNSEEN: Final = "keyturn.unseen"
"""The label with the names of duties whose check failed."""
ROUNDS: Final = 100


@dataclass(frozen=True)
class Before:
    due: datetime | None = None
    unseen: frozenset[str] = frozenset()


@dataclass
class Round:
    """The results of one run; ``now`` is its due time."""

    opened: Workspace
    by: str
    before: Before
    now: datetime
    started: list[Wanted] = field(default_factory=list)
    waiting: list[Wanted] = field(default_factory=list)
    troubles: dict[str, KeyturnError] = field(default_factory=dict)

    def is_due(self, duty: Duty) -> bool:
        if not duty.every or duty.name in self.before.unseen:
            return True
        return has_come_round(self.before.due, self.now, duty.every, duty.offset)

    async def see_to(self, duty: Duty) -> None:
        if not self.is_due(duty):
            return
        try:
            async with asyncio.timeout(LONGEST.total_seconds()):
                for wanted in await duty.look(self.opened):
                    begun = await start_run(wanted, self.by)
                    (self.started if begun else self.waiting).append(wanted)
        except KeyturnError as error:
            self.troubles[duty.name] = error
        except TimeoutError:
            problem = f"it has taken longer than {LONGEST.total_seconds() / 60:.0f} minutes"
            self.troubles[duty.name] = TransientError("look at", duty.name, problem, "See the run's log")
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            self.troubles[duty.name] = unexpected(error).during("look at", duty.name)


@flow(NAME, timeout=timedelta(minutes=30), looks=True, opens=lenient_workspace)
async def keeper() -> list[str]:
    """Check every scheduled duty; the started runs. It changes nothing itself.

    A failed check does not stop others, and fails the run at its end.
    """
    run = current_run()
    now = plain(runtime.flow_run.scheduled_start_time) if run else None
    try:
        opened = await workspace()
    except CatalogueInvalid:
        await start_incidents(run)
        raise
    round_ = Round(opened, str(run.id) if run else "", await last_round(run), now or opened.clock())
    await all_duties(round_.see_to)
    if round_.troubles:
        await remember(run, round_.troubles)
        raise trouble(round_.troubles)
    return well(summary(round_.started, round_.waiting), [wanted.words for wanted in round_.started])


async def start_incidents(run: FlowRun | None) -> None:
    """Start runs for open incidents despite an invalid catalogue."""
    opened = await asyncio.to_thread(lenient_workspace)
    incidents = next(duty for duty in DUTIES if duty.look is look_at_incidents)
    await Round(opened, str(run.id) if run else "", Before(), opened.clock()).see_to(incidents)


async def last_round(run: FlowRun | None) -> Before:
    """The progress of the previous run that completed or has a label."""
    if run is None or run.deployment_id is None:
        return Before()
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED, StateType.FAILED]))
    of_deployment = FlowRunFilterDeploymentId(any_=[run.deployment_id])
    async with get_client() as client:
        rounds = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=ended),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=ROUNDS,
        )
    return next((before for earlier in rounds if (before := told_by(earlier))), Before())


def told_by(run: FlowRun) -> Before | None:
    unseen = str(run.labels.get(UNSEEN, ""))
    if run.state_type != StateType.COMPLETED and not unseen:
        return None
    due = run.expected_start_time
    return Before(plain(due) if due else None, frozenset(filter(None, unseen.split(","))))


async def remember(run: FlowRun | None, unseen: Iterable[str]) -> None:
    """Make the next run repeat the failed checks; without the label it repeats all."""
    if run is None:
        return
    try:
        async with get_client() as client:
            await client.update_flow_run_labels(run.id, {UNSEEN: ",".join(unseen)})
    except httpx.HTTPError as error:
        get_run_logger().warning("The next run looks at everything: this one has no label (%s)", type(error).__name__)


def plain(moment: datetime) -> datetime:
    """A standard datetime: before Python 3.13, Prefect returns pendulum's."""
    return datetime.fromisoformat(moment.isoformat())


def summary(started: Sequence[Wanted], waiting: Sequence[Wanted]) -> str:
    parts = [
        f"{word} {', '.join(wanted.words for wanted in runs)}"
        for word, runs in (("started", started), ("under way already:", waiting))
        if runs
    ]
    return "; ".join(parts) or "nothing was due"


def trouble(troubles: dict[str, KeyturnError]) -> KeyturnError:
    if len(troubles) == 1:
        return next(iter(troubles.values()))
    problem = " | ".join(map(str, troubles.values()))
    return TransientError("look at", ", ".join(troubles), problem, "All else was seen to; the next run looks again")
