"""Find the due secrets and rotate each in one task."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from prefect.events import emit_event
from prefect.logging import get_run_logger

from flows.support.common import (
    BATCH,
    SIDE_BY_SIDE,
    begins,
    by_target,
    chosen,
    flow,
    in_batches,
    raise_failures,
    well,
    workspace,
)
from flows.support.fleet import Breaker, Fleet
from flows.support.pictures import draw, list_all
from flows.support.progress import Progress
from flows.support.report import outcome_row, table
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.schedule.due import Trigger
from keyturn.core.workspaces import SECRET
from keyturn.rotation.copies import restarts
from keyturn.rotation.decide import Sighting
from keyturn.rotation.outcome import Outcome
from keyturn.rotation.state.context import Workspace
from tasks import rotation as tasks
from tasks.step import look
from tasks.sync import counted
from tasks.workspace import names

STOP_AT: Final = 0.2
"""The share of due secrets that may fail before no more rotations start."""

LATE: Final = "keyturn.secret.late"


@flow("rotate-due", timeout=timedelta(hours=4), looks=True)
async def rotate_due(stop_at: float = STOP_AT, side_by_side: int = SIDE_BY_SIDE) -> int:
    """Rotate every due secret; a failure does not stop the others. The number of due secrets.

    ``side_by_side`` rotations run at each target. Once more than the share ``stop_at`` has failed, no more start.
    Expiring credentials are renewed, and secrets later than allowed are reported.
    """
    opened = await workspace()
    paths = chosen(opened, None)
    await ask_for_renewals(opened, paths)
    sightings = await look(tasks.find_due, paths)
    sound_alarms(sightings)
    if due := [sighting.path for sighting in sightings if sighting.work]:
        begins()
    fleet = await turn(opened, due, stop_at, side_by_side)
    fleet.results |= await renewed(opened, paths)
    summary = counted(str(outcome_row(*result)["state"]) for result in fleet.results.items())
    await table("rotate-due", [outcome_row(*row) for row in sorted(fleet.results.items())], summary)
    await show_turned(fleet.results)
    raise_failures("rotate", fleet.results)
    return well(summary or "nothing was due", fleet.breaker.total)


async def show_turned(results: Mapping[str, Outcome | KeyturnError]) -> None:
    outcomes = [outcome for outcome in results.values() if isinstance(outcome, Outcome) and outcome.promoted]
    if outcomes:
        await draw(
            {outcome.path: outcome.destinations for outcome in outcomes},
            {outcome.path: outcome.previous for outcome in outcomes},
            {outcome.path: outcome.turned for outcome in outcomes},
        )
        await list_all()


async def turn(opened: Workspace, due: list[str], stop_at: float, side_by_side: int) -> Fleet[Outcome]:
    progress = Progress("rotate-due-progress", len(due), "due secrets", few=side_by_side)
    fleet: Fleet[Outcome] = Fleet(Breaker(len(due), stop_at), side_by_side, progress)
    await progress.begin()
    groups, together = by_target(opened, due).items(), Together(await shared(opened, due))
    await asyncio.gather(*(fleet.work(target, group, together.rotate) for target, group in groups))
    fleet.results |= await together.rest()
    await progress.finish()
    return fleet


async def shared(opened: Workspace, due: list[str]) -> list[frozenset[str]]:
    """The groups of secrets that the same workloads use."""
    restarting = [
        path for path in due if restarts.restarting_stores(opened.catalogue, opened.secret(path).destinations)
    ]
    return await look(tasks.sharing, restarting) if len(restarting) > 1 else []


@dataclass
class Together:
    """Restarts common workloads once, after the last of their secrets; ``waiting`` are pending secrets."""

    groups: list[frozenset[str]]
    waiting: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = set().union(*self.groups)

    async def rotate(self, path: str) -> Outcome:
        group = next((group for group in self.groups if path in group), frozenset())
        if not group:
            return await tasks.rotate_whole(path, Trigger.SCHEDULE)
        try:
            outcome = await tasks.rotate_whole(path, Trigger.SCHEDULE, restart_later=True)
        except KeyturnError:
            with suppress(KeyturnError):  # the next run reports it: pending restarts are recorded with the copies
                await self._over(path, group)
            raise
        await self._over(path, group)
        return outcome

    async def rest(self) -> dict[str, KeyturnError]:
        """Restart for groups with secrets that were not started; errors by the first secret."""
        errors: dict[str, KeyturnError] = {}
        for group in [group for group in self.groups if group & self.waiting]:
            try:
                await tasks.restart_together(sorted(group))
            except KeyturnError as error:
                errors[min(group)] = error
        return errors

    async def _over(self, path: str, group: frozenset[str]) -> None:
        self.waiting.discard(path)
        if not group & self.waiting:
            await tasks.restart_together(sorted(group))


async def ask_for_renewals(opened: Workspace, paths: list[str]) -> None:
    asking = [path for path in paths if opened.secret(path).rotation.asks_for_renewal]
    for batch in in_batches(asking, BATCH):
        for path, why in (await look(tasks.ask_for_renewals, batch)).items():
            get_run_logger().warning("%s: %s", path, why)


async def renewed(opened: Workspace, paths: list[str]) -> dict[str, Outcome | KeyturnError]:
    needing = [path for path in paths if opened.secret(path).rotation.renews]
    faults = [await look(tasks.renew, batch) for batch in in_batches(needing, BATCH)]
    hint = "It is renewed again with the next run"
    return {path: TransientError("renew", path, error, hint) for batch in faults for path, error in batch.items()}


def sound_alarms(sightings: list[Sighting]) -> None:
    for sighting in sightings:
        if sighting.alarm:
            resource = {"prefect.resource.id": names().resource(SECRET, sighting.path)}
            emit_event(LATE, resource=resource, payload={"path": sighting.path, "why": sighting.alarm})
