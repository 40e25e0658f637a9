"""Rehearse the revocation of secrets with throw-away credentials, and measure how long these still work."""

from datetime import timedelta
from typing import Final

from prefect.events import emit_event

from flows.support.common import chosen, each, flow, raise_failures, well, workspace
from flows.support.report import Row, table
from keyturn.core.errors import Locked
from keyturn.core.workspaces import SECRET
from keyturn.revocation.objectives.measured import ObjectiveStatus
from tasks import revocation as tasks
from tasks.step import look
from tasks.workspace import names

MISSED: Final = "keyturn.objective.missed"
"""The event of a missed objective or an overdue rehearsal; its resource is the secret."""


@flow("rehearse", timeout=timedelta(minutes=30), looks=True)
async def rehearse(path: str | None = None) -> int:
    """Rehearse the due secrets, or the named one. The number of rehearsals.

    A secret that a rotation or an incident holds is tried again. A missed objective is reported.
    """
    opened = await workspace()
    due = chosen(opened, path) if path else await look(tasks.list_due_rehearsals)
    results = await each(due, tasks.rehearse)
    await sound_alarms()
    rows: list[Row] = [{"secret": name, "result": str(result)} for name, result in sorted(results.items())]
    done = sum(isinstance(result, str) for result in results.values())
    text = f"{done} of {len(due)} rehearsed" if due else "nothing was due"
    await table("rehearse", rows, text)
    held = {name for name, result in results.items() if isinstance(result, Locked)} if path is None else set()
    raise_failures("rehearse", {name: result for name, result in results.items() if name not in held})
    return well(text, done)


async def sound_alarms() -> None:
    """Report every missed objective and every overdue rehearsal, as far as this login may look."""
    for status in await look(tasks.list_objectives):
        if why := alarm_of(status):
            resource = {"prefect.resource.id": names().resource(SECRET, status.path)}
            emit_event(MISSED, resource=resource, payload={"path": status.path, "why": why})


def alarm_of(status: ObjectiveStatus) -> str:
    """Why a person should look; empty for none. A secret that was never tested is rehearsed first."""
    return status.missed or (status.overdue if status.last else "")
