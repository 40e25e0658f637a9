"""Whether the hub is set up as the catalogue says, as a step."""

from keyturn.hub_setup import check
from keyturn.hub_setup.check import HubCheck
from keyturn.hub_setup.wanted import HubDeclaration, resources
from tasks.step import step
from tasks.workspace import current_workspace, names, own_settings


@step("look at the hub's set-up")
def look_at_setup() -> HubCheck | None:
    """What it has come to, in names; None where the catalogue has nothing set up in the hub."""
    workspace = current_workspace()
    if not workspace.catalogue.hub:
        return None
    return check.check_hub(
        workspace, resources(HubDeclaration.by(workspace.catalogue, own_settings().hub, names().own))
    )
