"""Revoke a drill secret like a real one, and record how long it takes."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from prefect import runtime
from prefect.context import FlowRunContext
from prefect.events import emit_event

from flows.emergency import take_up, work_on
from flows.support.common import flow
from flows.support.incidents import end_run
from keyturn.core.workspaces import SECRET
from keyturn.project.runs.form import form
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.drills import DRILL, REASON, drill_id, insist_on_drill, result_of
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selector
from keyturn.rotation.state.journal import record_action
from tasks import revocation as tasks
from tasks.workspace import names

DRILLED: Final = "keyturn.drill.ended"
"""The event with a drill's result; its resource is the secret."""


def run_name() -> str:
    return f"drill-{runtime.flow_run.parameters.get('path')}"


@flow("drill", run_name, timeout=timedelta(minutes=30), opens=tasks.revoking_workspace)
async def drill(
    path: Annotated[str, form("Secret", "One that the catalogue has for drills: it says drill, and is below drills/.")],
) -> IncidentStatus:
    """Do a complete revocation, with the revoker's login, of a secret that nothing uses.

    People are notified as for any incident. An unproven result fails the run, and is retried as for any incident.
    """
    opened = tasks.revoking_workspace()
    insist_on_drill(opened, path)
    incident = drill_id(path, began())
    with record_action(opened, DRILL, path, note=incident) as doing:
        status = await work_on(await take_up(incident, Selector((path,)), REASON, Mode.REPLACE, Consent(1)))
        result = result_of(status)
        doing.note = result.words
    resource = {"prefect.resource.id": names().resource(SECRET, path)}
    emit_event(DRILLED, resource=resource, payload=result.to_data())
    return end_run(status)


def began() -> datetime:
    """The run's creation time, which a retry keeps, so that it continues the same incident."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return (run.created if run else None) or datetime.now(UTC)
