"""Find what is due and rotate it, one task a secret."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Final

from prefect.events import emit_event

from flows.common import BATCH, SIDE_BY_SIDE, begins, by_target, chosen, in_batches, raise_failures, runbook, workspace
from flows.fleet import Breaker, Fleet
from flows.progress import Progress
from flows.report import outcome_row, table
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.policy import Trigger
from keyturn.core.workspaces import SECRET
from keyturn.rotation.context import Keyturn
from keyturn.rotation.decide import Sighting
from keyturn.rotation.run import Outcome
from tasks import rotation as tasks
from tasks.step import look
from tasks.workspace import names

STOP_AT: Final = 0.2
"""The share of due secrets that may fail before no further one is begun."""

LATE: Final = "keyturn.secret.late"


@runbook("rotate-due", timeout=timedelta(hours=4), looks=True)
async def rotate_due(stop_at: float = STOP_AT, side_by_side: int = SIDE_BY_SIDE) -> int:
    """Rotate every secret that is due; one that fails never stops another. The number of secrets turned.

    At each target ``side_by_side`` are at work at once. Once more than the share ``stop_at`` has failed nothing
    further is begun. What would end by itself is renewed, and what is later than allowed is reported.
    """
    opened = await workspace()
    paths = chosen(opened, None)
    seen = await look(tasks.find_due, paths)
    sound_alarms(seen)
    if due := [one.path for one in seen if one.work]:
        begins()
    fleet = await turn(opened, due, stop_at, side_by_side)
    fleet.results |= await renewed(opened, paths)
    counts = Counter(row["state"] for row in (outcome_row(*result) for result in fleet.results.items()))
    summary = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    await table("rotate-due", [outcome_row(*row) for row in sorted(fleet.results.items())], summary)
    raise_failures("rotate", fleet.results)
    return fleet.breaker.total


async def turn(opened: Keyturn, due: list[str], stop_at: float, side_by_side: int) -> Fleet[Outcome]:
    """Rotate these, target by target and all targets at once."""
    progress = Progress("rotate-due-progress", len(due), "due secrets", few=side_by_side)
    fleet: Fleet[Outcome] = Fleet(Breaker(len(due), stop_at), side_by_side, progress)
    await progress.begin()
    groups = by_target(opened, due).items()
    await asyncio.gather(*(fleet.work(target, group, rotate_one) for target, group in groups))
    await progress.finish()
    return fleet


async def rotate_one(path: str) -> Outcome:
    """One secret, in one task."""
    return await tasks.rotate_whole(path, Trigger.SCHEDULE)


async def renewed(opened: Keyturn, paths: list[str]) -> dict[str, Outcome | KeyturnError]:
    """Keep alive what would end by itself; the errors by secret."""
    needing = [path for path in paths if opened.secret(path).rotation.renews]
    faults = [await look(tasks.renew, batch) for batch in in_batches(needing, BATCH)]
    hint = "It is renewed again with the next run"
    return {path: TransientError("renew", path, said, hint) for batch in faults for path, said in batch.items()}


def sound_alarms(seen: list[Sighting]) -> None:
    """Tell Prefect of every secret that is later than its policy allows; an automation passes it on."""
    for one in seen:
        if one.alarm:
            resource = {"prefect.resource.id": names().resource(SECRET, one.path)}
            emit_event(LATE, resource=resource, payload={"path": one.path, "why": one.alarm})
