"""Register the deployments, blocks, limits and automations with the Prefect server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.cli.environment import connected_hub, load_catalogue, stack_in_use
from keyturn.cli.output import note
from keyturn.cli.setup.prefect_server import insist_on_api, insist_on_prefect
from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import Sensitive
from keyturn.core.workspaces import WorkspaceNames

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue


def register_project(catalogue: Path | None, failure_url: str | None, workspace: str) -> None:
    """Register the work pool, limits, blocks, deployments and automations.

    Each worker's own environment, and not the server, says where the hub and the catalogue are.
    """
    names = WorkspaceNames(workspace)
    stack_in_use()
    api = insist_on_prefect(instead="").url
    declared = load_catalogue(catalogue)

    import asyncio

    from keyturn.project import project_module
    from keyturn.providers.apprise_channel import URL_FILE, address_in, insist_on_address

    file = os.environ.get(URL_FILE)
    address = Sensitive(failure_url) if failure_url else address_in(Path(file)) if file else None
    if address:
        insist_on_address(address)
    project_module("deployments.prefect_exposure").insist_on_guarded(api)
    insist_on_api(names.own, "register with")
    note(f"registering with Prefect at {api}")
    channel = address.reveal() if address else None
    register = project_module("deployments.bootstrap").bootstrap
    asyncio.run(register(declared, channel, lambda step: note(f"  {step}"), names, open_incidents(declared)))


def open_incidents(declared: "Catalogue") -> list[str]:
    """Return the incidents that forms offer, newest first; none if they can't be read, as registration needs no hub."""
    if not os.environ.get("VAULT_ADDR"):
        return []
    from keyturn.revocation.incidents.store import list_open
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import open_workspace

    try:
        with connected_hub(HubSettings.from_environment()) as hub:
            return [incident.id for incident in list_open(open_workspace(declared, hub))]
    except KeyturnError as error:
        note(f"  forms offer no incidents: {error.problem}. {error.hint}, then run this again")
        return []
