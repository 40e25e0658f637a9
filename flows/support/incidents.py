"""What the two flows of revocation share: an incident seen through to its proof, its report, and who is told."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import WorkQueueStatus
from prefect.events import emit_event

from flows.support.common import well
from flows.support.pictures import draw
from flows.support.report import incident_rows, slug, table
from flows.support.starting import LEDGER_KEEPER, Wanted, ask_for_run
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.workspaces import HOUSE, INCIDENT
from keyturn.revocation import protocol
from keyturn.revocation.incidents.announcements import summarise_incident
from keyturn.revocation.incidents.incident import RETRIED, Incident, IncidentStatus, Step
from keyturn.revocation.incidents.resume import same_status
from tasks import revocation as tasks
from tasks.step import ToldTask, look
from tasks.workspace import names

OPENED, STAYS_OPEN, CLOSED = "keyturn.incident.opened", "keyturn.incident.open", "keyturn.incident.closed"
REOPENED = "keyturn.incident.reopened"
"""What Prefect is told of an incident; the resource is ``keyturn.incident.ID``, or of a workspace with a name
``keyturn-NAME.incident.ID``."""

NOTARY: Final = "notary"
"""The work queue that it is in."""
WAITS: Final = 20
PAUSE: Final = 1.0
"""So often, and so many seconds apart, an incident looks whether the notary has signed before its report is made."""


STEPS: Final = (
    *(tasks.cut, tasks.end_access),
    *(tasks.replace_credential, tasks.push),
    *(tasks.notify, tasks.clear_hub, tasks.clear_copies),
    *(tasks.prove, tasks.conclude),
)
"""The steps of an incident, in their order; those of one line run side by side, each for all of its secrets."""


async def see_through(
    incident: Incident,
    pauses: Sequence[float],
    before: IncidentStatus | None = None,
    chain: Sequence[ToldTask[..., Any]] = STEPS,
) -> IncidentStatus:
    """Go on with an incident until nothing is left (:mod:`keyturn.revocation.protocol`); then its report, people,
    and the pages of its secrets.

    A try that came no further than it stood ``before`` leaves no report.
    """
    status = await tasks.run_steps(protocol.see_through(incident.id, pauses, before), *chain)
    moved = before is None or not same_status(before, status)
    if moved:
        await sign(status)
        await leave_report(status)
    if not status.open and incident.closed_at is None:
        emit(CLOSED, status.incident, summarise_incident(status))
    await tasks.tell_people.fn(incident.id)
    if moved:
        await draw(dict.fromkeys(incident.paths))
    return status


async def sign(status: IncidentStatus) -> None:
    """A checkpoint of the ledger that covers the incident; one that can't be made is a failed task, and no more.

    A login that may not sign asks the notary, and waits a little: what it makes later covers the incident as well.
    """
    with suppress(KeyturnError):
        if not await tasks.sign_checkpoint(status.incident.id) and await ask_notary():
            await vouched_for(status.incident.id)


async def ask_notary() -> bool:
    """Ask for a run of keep-ledger, which is in the queue of the notary's worker; whether one is there to take it."""
    try:
        await ask_for_run(Wanted(LEDGER_KEEPER))
        async with get_client() as client:
            queue = await client.read_work_queue_by_name(NOTARY, work_pool_name=names().own)
    except Exception:  # noqa: BLE001  whatever keeps Prefect from it, it is asked for at the next mark
        return False
    return queue.status is WorkQueueStatus.READY


async def vouched_for(incident: str) -> None:
    """Wait until a checkpoint covers the incident, and for the notary no longer than it usually takes."""
    for _ in range(WAITS):
        if await look(tasks.is_vouched_for, incident):
            return
        await asyncio.sleep(PAUSE)


async def leave_report(status: IncidentStatus) -> None:
    """The table and the report in the Prefect UI; a report that can't be made takes nothing back."""
    incident = status.incident
    await table(f"incident-{incident.id}", incident_rows(status), summarise_incident(status))
    try:
        text = await tasks.make_report(incident.id)
    except KeyturnError as error:
        text = f"The report can't be made: {error}"
    key = slug(names().artifact(f"report-{incident.id}"))
    await acreate_markdown_artifact(text, key=key, description=summarise_incident(status))


def end_run(status: IncidentStatus) -> IncidentStatus:
    """How the run ends: well once the incident is closed. Raises TransientError with what is left of an open one."""
    if status.open:
        raise still_open_error([status])
    return well(summarise_incident(status), status)


def still_open_error(statuses: Sequence[IncidentStatus]) -> TransientError:
    """What is left of these incidents, for people."""
    names = ", ".join(status.incident.id for status in statuses)
    text = "; ".join(left for status in statuses for left in status.left) or "its proof is not complete"
    hint = f"It is retried {RETRIED}. Fix the cause; `keyturn revoke --resume {names}` retries at once"
    if any(Step.CUT not in secret.done for status in statuses for secret in status.secrets):
        hint += ", and shows the commands that end by hand what still works"
    return TransientError("close", names, f"something is left: {text}", hint)


def emit(event: str, incident: Incident, why: str) -> None:
    """Tell Prefect, and with it whoever has an automation for it."""
    resource = {"prefect.resource.id": names().resource(INCIDENT, incident.id), "prefect.resource.name": incident.id}
    state = event.removeprefix(f"{HOUSE}.{INCIDENT}.")
    payload = {"incident": incident.id, "state": state, "why": why, "mode": str(incident.mode)}
    emit_event(event, resource=resource, payload=payload | {"secrets": list(incident.paths)})
