"""What the two flows of revocation share: an incident seen through to its proof, its report, and who is told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from prefect.artifacts import acreate_markdown_artifact
from prefect.events import emit_event

from flows.common import each, well
from flows.report import incident_rows, slug, table
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.workspaces import HOUSE, INCIDENT
from keyturn.revocation.incident import STEPS, Incident, IncidentStatus, Step
from keyturn.revocation.news import summarise_incident
from keyturn.revocation.resume import same_status
from tasks import revocation as tasks
from tasks.workspace import names

FEW: Final = 8
"""Secrets of which each step is a task; of more, each secret is one."""

OPENED, STAYS_OPEN, CLOSED = "keyturn.incident.opened", "keyturn.incident.open", "keyturn.incident.closed"
REOPENED = "keyturn.incident.reopened"
"""What Prefect is told of an incident; the resource is ``keyturn.incident.ID``, or of a workspace with a name
``keyturn-NAME.incident.ID``."""

Steps = tuple[Step, ...]


async def see_through(
    incident: Incident, pauses: Sequence[float], before: IncidentStatus | None = None
) -> IncidentStatus:
    """Every step of every secret, again after each pause where it failed; then the proof and the report.

    Where it is known how the incident stood ``before``, what was done then is passed over, and a try that came no
    further leaves no report.
    """
    left = steps_left(incident, before)
    for pause in (0.0, *pauses):
        await asyncio.sleep(pause)
        if not (left := await try_steps(incident, left)):
            break
    standing = await tasks.conclude(incident.id)
    if before is None or not same_status(before, standing):
        await sign_ledger(standing)
        await leave_report(standing)
    if not standing.open and incident.closed_at is None:
        emit(CLOSED, standing.incident, summarise_incident(standing))
    await tasks.tell_people.fn(incident.id)
    return standing


def steps_left(incident: Incident, before: IncidentStatus | None) -> dict[str, Steps]:
    """The steps that each secret needs still, as far as is known."""
    done = {secret.path: secret.done for secret in before.secrets} if before else {}
    steps = STEPS[incident.mode]
    left = {path: tuple(step for step in steps if step not in done.get(path, ())) for path in incident.paths}
    return {path: wanted for path, wanted in left.items() if wanted}


async def try_steps(incident: Incident, left: dict[str, Steps]) -> dict[str, Steps]:
    """These steps of these secrets, a few secrets at a time; those that are worth another try."""
    advance: Callable[[Incident, str, Steps], Awaitable[Steps]]
    advance = step_by_step if len(incident.paths) <= FEW else in_one_task
    results = await each(list(left), lambda path: advance(incident, path, left[path]))
    return {path: steps for path, steps in results.items() if isinstance(steps, tuple) and steps}


async def step_by_step(incident: Incident, path: str, steps: Steps) -> Steps:
    """Each step of a secret in a task of its own; those worth another try. One that fails stops none after it."""
    again = []
    for wanted in steps:
        named = tasks.advance.with_options(task_run_name=f"{wanted} {path}")
        try:
            await named(path, incident, wanted)
        except TransientError:
            again.append(wanted)
        except KeyturnError:  # the task shows it, and the incident keeps it
            continue
    return tuple(again)


async def in_one_task(incident: Incident, path: str, steps: Steps) -> Steps:
    """All steps of a secret in one task; all of them again where that is worth another try."""
    try:
        await tasks.advance_all.with_options(task_run_name=f"revoke {path}")(path, incident)
    except TransientError:
        return steps
    except KeyturnError:
        return ()
    return ()


async def sign_ledger(standing: IncidentStatus) -> None:
    """A checkpoint of the ledger that covers the incident; one that can't be made is a failed task, and no more."""
    with suppress(KeyturnError):
        await tasks.sign_checkpoint(standing.incident.id)


async def leave_report(standing: IncidentStatus) -> None:
    """The table and the report in the Prefect UI; a report that can't be made takes nothing back."""
    incident = standing.incident
    await table(f"incident-{incident.id}", incident_rows(standing), summarise_incident(standing))
    try:
        text = await tasks.make_report(incident.id)
    except KeyturnError as error:
        text = f"The report can't be made: {error}"
    key = slug(names().artifact(f"report-{incident.id}"))
    await acreate_markdown_artifact(text, key=key, description=summarise_incident(standing))


def end_run(standing: IncidentStatus) -> IncidentStatus:
    """How the run ends: well once the incident is closed. Raises TransientError with what is left of an open one."""
    if standing.open:
        raise still_open_error([standing])
    return well(summarise_incident(standing), standing)


def still_open_error(standings: Sequence[IncidentStatus]) -> TransientError:
    """What is left of these incidents, for people."""
    names = ", ".join(status.incident.id for status in standings)
    text = "; ".join(left for status in standings for left in status.left) or "its proof is not complete"
    hint = f"It is tried again every five minutes. Mend the cause; `keyturn revoke --resume {names}` tries at once"
    return TransientError("close", names, f"something is left: {text}", hint)


def emit(event: str, incident: Incident, why: str) -> None:
    """Tell Prefect, and with it whoever has an automation for it."""
    resource = {"prefect.resource.id": names().resource(INCIDENT, incident.id), "prefect.resource.name": incident.id}
    state = event.removeprefix(f"{HOUSE}.{INCIDENT}.")
    payload = {"incident": incident.id, "state": state, "why": why, "mode": str(incident.mode)}
    emit_event(event, resource=resource, payload=payload | {"secrets": list(incident.paths)})
