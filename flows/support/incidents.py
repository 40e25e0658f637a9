"""Shared by the revocation flows: an incident's steps, report and announcements."""

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
from flows.support.report import incident_rows, table
from flows.support.starting import LEDGER_KEEPER, Wanted, ask_for_run
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.workspaces import HOUSE, INCIDENT, slug
from keyturn.revocation import protocol
from keyturn.revocation.incidents.announcements import summarise_incident
from keyturn.revocation.incidents.incident import RETRIED, Incident, IncidentStatus, Step
from keyturn.revocation.incidents.resume import same_status
from tasks import revocation as tasks
from tasks.step import ToldTask, look
from tasks.workspace import names

OPENED, STAYS_OPEN, CLOSED = "keyturn.incident.opened", "keyturn.incident.open", "keyturn.incident.closed"
REOPENED = "keyturn.incident.reopened"
"""Prefect's events; the resource is ``keyturn.incident.ID``, or ``keyturn-NAME.incident.ID`` of a named workspace."""

NOTARY: Final = "notary"
WAITS: Final = 20
PAUSE: Final = 1.0
"""Seconds between the ``WAITS`` checks for the notary's signature before the report."""


STEPS: Final = (
    *(tasks.cut, tasks.end_access),
    *(tasks.replace_credential, tasks.push),
    *(tasks.notify, tasks.clear_hub, tasks.clear_copies),
    *(tasks.prove, tasks.conclude),
)
"""The steps of an incident in order; those in one line run concurrently, each for all secrets."""


async def see_through(
    incident: Incident,
    pauses: Sequence[float],
    before: IncidentStatus | None = None,
    chain: Sequence[ToldTask[..., Any]] = STEPS,
) -> IncidentStatus:
    """Continue an incident (:mod:`keyturn.revocation.protocol`), then its report, announcements and pages.

    A try without progress since ``before`` leaves no report.
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
    """Make a checkpoint that covers the incident.

    A login without that right asks the notary and waits briefly.
    """
    with suppress(KeyturnError):
        if not await tasks.sign_checkpoint(status.incident.id) and await ask_notary():
            await vouched_for(status.incident.id)


async def ask_notary() -> bool:
    """Request a run of keep-ledger; whether the notary's worker is ready for it."""
    try:
        await ask_for_run(Wanted(LEDGER_KEEPER))
        async with get_client() as client:
            queue = await client.read_work_queue_by_name(NOTARY, work_pool_name=names().own)
    except Exception:  # noqa: BLE001  whatever keeps Prefect from it, it is asked for at the next mark
        return False
    return queue.status is WorkQueueStatus.READY


async def vouched_for(incident: str) -> None:
    for _ in range(WAITS):
        if await look(tasks.is_vouched_for, incident):
            return
        await asyncio.sleep(PAUSE)


async def leave_report(status: IncidentStatus) -> None:
    incident = status.incident
    await table(f"incident-{incident.id}", incident_rows(status), summarise_incident(status))
    try:
        text = await tasks.make_report(incident.id)
    except KeyturnError as error:
        text = f"The report can't be made: {error}"
    key = slug(names().artifact(f"report-{incident.id}"))
    await acreate_markdown_artifact(text, key=key, description=summarise_incident(status))


def end_run(status: IncidentStatus) -> IncidentStatus:
    """Complete the run if the incident is closed. Raises TransientError otherwise."""
    if status.open:
        raise still_open_error([status])
    return well(summarise_incident(status), status)


def still_open_error(statuses: Sequence[IncidentStatus]) -> TransientError:
    names = ", ".join(status.incident.id for status in statuses)
    text = "; ".join(left for status in statuses for left in status.left) or "its proof is not complete"
    hint = f"It is retried {RETRIED}. Fix the cause; `keyturn revoke --resume {names}` retries at once"
    if any(Step.CUT not in secret.done for status in statuses for secret in status.secrets):
        hint += ", and shows the commands that end by hand what still works"
    return TransientError("close", names, f"something is left: {text}", hint)


def emit(event: str, incident: Incident, why: str) -> None:
    resource = {"prefect.resource.id": names().resource(INCIDENT, incident.id), "prefect.resource.name": incident.id}
    state = event.removeprefix(f"{HOUSE}.{INCIDENT}.")
    payload = {"incident": incident.id, "state": state, "why": why, "mode": str(incident.mode)}
    emit_event(event, resource=resource, payload=payload | {"secrets": list(incident.paths)})
