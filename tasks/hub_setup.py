"""Checking the hub's set-up, as a task."""

from keyturn.rights import hub_check as check
from keyturn.rights.hub_check import HubCheck
from keyturn.rights.hub_wanted import HubDeclaration, resources
from tasks.step import task
from tasks.workspace import current_workspace, names, own_settings


@task("look at the hub's set-up")
def look_at_setup() -> HubCheck | None:
    """Compare the hub's set-up with the catalogue; None if the catalogue declares none."""
    workspace = current_workspace()
    if not workspace.catalogue.hub:
        return None
    return check.check_hub(
        workspace, resources(HubDeclaration.by(workspace.catalogue, own_settings().hub, names().own))
    )
