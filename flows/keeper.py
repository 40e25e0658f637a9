"""Look for everything that is due, and start what has to be done: the one flow that a schedule runs all day."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

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
from prefect.context import FlowRunContext

from flows.common import runbook, well, workspace
from flows.duties import DUTIES, LAST, Duty
from flows.starting import Wanted, start_run
from keyturn.core.errors import KeyturnError, TransientError, unexpected
from keyturn.core.marks import has_come_round
from keyturn.rotation.context import Workspace

NAME: Final = "keeper"
LONGEST: Final = timedelta(minutes=10)
"""For one look."""


@dataclass
class Round:
    """One run: what it has come to. ``since`` is when the one before was due, ``now`` when this one was."""

    opened: Workspace
    by: str
    since: datetime | None
    now: datetime
    started: list[Wanted] = field(default_factory=list)
    waiting: list[Wanted] = field(default_factory=list)
    troubles: dict[str, KeyturnError] = field(default_factory=dict)

    async def see_to(self, duty: Duty) -> None:
        """Look, and start what is wanted; what one duty suffers from stops no other."""
        if duty.every and not has_come_round(self.since, self.now, duty.every, duty.offset):
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


@runbook(NAME, timeout=timedelta(minutes=30), looks=True)
async def keeper() -> list[str]:
    """See to every duty that comes round; the runs that were started. It changes nothing by itself.

    A look that fails stops no other, and fails the run at its end.
    """
    run = current_run()
    now = plain(runtime.flow_run.scheduled_start_time) if run else None
    opened = await workspace()
    round_ = Round(opened, str(run.id) if run else "", await last_round(run), now or opened.clock())
    await asyncio.gather(*map(round_.see_to, DUTIES))
    await round_.see_to(LAST)
    if round_.troubles:
        raise trouble(round_.troubles)
    return well(summary(round_.started, round_.waiting), [wanted.words for wanted in round_.started])


def current_run() -> FlowRun | None:
    """This run, where Prefect has it."""
    context = FlowRunContext.get()
    return context.flow_run if context else None


async def last_round(run: FlowRun | None) -> datetime | None:
    """When the run before was due that came to its end; None where there is none. One that died has seen to nothing."""
    if run is None or run.deployment_id is None:
        return None
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED, StateType.FAILED]))
    of_deployment = FlowRunFilterDeploymentId(any_=[run.deployment_id])
    async with get_client() as client:
        rounds = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=ended),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=1,
        )
    due = rounds[0].expected_start_time if rounds else None
    return plain(due) if due else None


def plain(moment: datetime) -> datetime:
    """The same as Python's own: before Python 3.13 Prefect's are pendulum's, which don't reckon with others."""
    return datetime.fromisoformat(moment.isoformat())


def summary(started: Sequence[Wanted], waiting: Sequence[Wanted]) -> str:
    """What the run has come to, for people."""
    parts = [
        f"{word} {', '.join(wanted.words for wanted in runs)}"
        for word, runs in (("started", started), ("under way already:", waiting))
        if runs
    ]
    return "; ".join(parts) or "nothing was due"


def trouble(troubles: dict[str, KeyturnError]) -> KeyturnError:
    """What the run fails with, naming each look that failed."""
    if len(troubles) == 1:
        return next(iter(troubles.values()))
    problem = " | ".join(map(str, troubles.values()))
    return TransientError("look at", ", ".join(troubles), problem, "All else was seen to; the next run looks again")
