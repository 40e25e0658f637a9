"""Continue an open incident now."""

from datetime import timedelta
from typing import Annotated

from flows.emergency import go_on_with
from flows.support.common import flow
from keyturn.project.runs.form import form
from keyturn.revocation.incidents.incident import IncidentStatus
from tasks import revocation as tasks


@flow(
    "resume-incident", "resume-{incident}", timeout=timedelta(minutes=30), opens=tasks.revoking_workspace, revoking=True
)
async def resume_incident(
    incident: Annotated[
        str,
        form("Incident", "Its id, such as INC-20261125-153012-7f3a.", pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ],
) -> IncidentStatus:
    """Retry the remaining steps of an open incident now. Raises the reason if it remains open."""
    return await go_on_with(await tasks.load_incident(incident))
