"""The automation that reports edits of Keyturn's deployments and automations."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deployments.texts import notification
from keyturn.core.workspaces import WorkspaceNames

REPORTS: Final = "report an edit"
EDITS: Final = {
    f"prefect.{kind}.{action}" for kind in ("deployment", "automation") for action in ("updated", "deleted")
}
"""Prefect's events for edits, since 3.7.4; they do not name the user."""
SETTLED: Final = timedelta(minutes=1)
"""Several edits of one object within this time are reported once."""
MOST: Final = 200

SUBJECT: Final = "<called>: {{ event.resource.name }} was {{ event.event.split('.')[-1] }}"
BODY: Final = """\
A user has {{ event.event.split('.')[-1] }} {{ event.event.split('.')[1] }} {{ event.resource.name }} on the Prefect \
server\
{% if event.payload.updated_fields %}: {{ event.payload.updated_fields | join(', ') }}{% endif %}.

Remedy: if none of your people did it, check who may call the server's API, and run \
`keyturn setup prefect --apply<option>`, which brings it back. Workers \
refuse a run whose deployment says more than it may.
"""


def edit_automation(channel: Any, ours: Sequence[str], workspace: WorkspaceNames) -> Automation:
    return Automation(
        name=workspace.automation(REPORTS),
        description="A registered object was changed, switched off or removed.",
        trigger=EventTrigger(
            expect=EDITS,
            match=ResourceSpecification({"prefect.resource.id": list(ours)}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=SETTLED,
        ),
        actions=[notification(channel, SUBJECT, BODY, workspace)],
    )


async def own_resources(flows: Sequence[str], workspace: WorkspaceNames) -> list[str]:
    """The resource ids of these flows' deployments and the other automations."""
    names, begin = [workspace.deployment(flow) for flow in flows], workspace.automation("")
    async with get_client() as client:
        of_names = DeploymentFilter(name=DeploymentFilterName(any_=names))
        deployments = await client.read_deployments(deployment_filter=of_names, limit=MOST)
        automations = await client.read_automations()
    reports = workspace.automation(REPORTS)
    own = [each for each in automations if each.name.startswith(begin) and each.name != reports]
    return sorted(
        [f"prefect.deployment.{each.id}" for each in deployments] + [f"prefect.automation.{each.id}" for each in own]
    )
