"""Continue every open incident, remind people of it, and send pending announcements."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from flows.support.common import begins, flow, well
from flows.support.incidents import REOPENED, STAYS_OPEN, emit, see_through, still_open_error
from flows.support.own_login import clean_up, keep_login
from flows.support.starting import FINISHER, start_at_next_mark
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.revocation.incidents.announcements import summarise_incident
from keyturn.revocation.incidents.incident import Incident, IncidentStatus
from tasks import revocation as tasks
from tasks.step import look


@flow("finish-incidents", timeout=timedelta(minutes=30), looks=True, opens=tasks.revoking_workspace, revoking=True)
async def finish_incidents() -> int:
    """Continue open incidents; how many remain open. A failed hourly reminder fails the run.

    While an incident is open or an announcement pending, the next mark starts another run. Retries without progress
    become rarer, unless a credential may still work.
    """
    await look(tasks.record_what_waits)
    for closed in await look(tasks.list_due):
        begins()
        await recheck(closed)
    unfinished = await look(tasks.list_unfinished)
    unread, readable = part_unreadable(unfinished)
    statuses = [await go_on_with(incident) for incident in readable if incident.closed_at is None]
    still = [status for status in statuses if status.open]
    unheard = [status for status in still if not await remind_people(status)]
    waiting = [incident for incident in readable if await tasks.tell_people.fn(incident.id)]
    await clean_up(often=bool(still))
    await keep_login(FINISHER)
    if waiting or still:
        await start_at_next_mark(FINISHER)
    if unheard:
        raise still_open_error(unheard)
    if unread:
        raise unreadable_error(unread)
    return well("; ".join(map(summarise_incident, statuses)) or "no incident is open", len(still))


def part_unreadable(incidents: Sequence[Incident]) -> tuple[list[Incident], list[Incident]]:
    unread = [incident for incident in incidents if incident.unread]
    return unread, [incident for incident in incidents if not incident.unread]


def unreadable_error(incidents: Sequence[Incident]) -> Invalid:
    names = ", ".join(incident.id for incident in incidents)
    problem = "; ".join(incident.reason for incident in incidents)
    return Invalid("read", names, problem, incidents[0].unread.rpartition(". ")[2])


async def recheck(incident: Incident) -> None:
    with suppress(KeyturnError):  # the task shows the error, and the next run tries again
        status = await tasks.recheck_incident(incident.id)
        if status.open:
            emit(REOPENED, status.incident, summarise_incident(status))


async def remind_people(status: IncidentStatus) -> bool:
    """Send the hourly reminder; False if it was due and not sent."""
    if not await tasks.claim_reminder.fn(status.incident.id):
        return True
    emit(STAYS_OPEN, status.incident, summarise_incident(status))
    return not await tasks.tell_people.fn(status.incident.id)


async def go_on_with(incident: Incident) -> IncidentStatus:
    try:
        before = await look(tasks.load_status, incident.id)
        if not await look(tasks.is_turn, before):
            return before
        begins()
        after = await see_through(incident, pauses=(), before=before)
        await look(tasks.record_try, before, after)
    except KeyturnError as error:
        return IncidentStatus(replace(incident, left=(*incident.left, str(error))), ())
    return after
