"""``keyturn bootstrap``: register the deployments, blocks, limits and automations with the Prefect server."""

import os

from keyturn.cli.environment import catalogue_directory, insist_on_hub, load_catalogue
from keyturn.cli.options import CatalogueOption, FailureUrlOption, WorkspaceOption
from keyturn.cli.output import note
from keyturn.cli.prefect_server import insist_on_prefect
from keyturn.core.sensitive import Sensitive
from keyturn.core.workspaces import DEFAULT, WorkspaceNames


def bootstrap(
    catalogue: CatalogueOption = None, failure_url: FailureUrlOption = None, workspace: WorkspaceOption = DEFAULT
) -> None:
    """Register everything with the Prefect server.

    The work pool, limits, blocks, deployments and automations. Workers find the hub by the settings that
    this command runs with (VAULT_ADDR, KEYTURN_HUB_*). Run it again after every change to these, to the
    catalogue's targets, or to Keyturn's version. With --workspace all of it has that name, and what other
    workspaces have on the server stays as it is.
    """
    names = WorkspaceNames(workspace)
    insist_on_hub()
    api = insist_on_prefect()
    declared = load_catalogue(catalogue)

    import asyncio

    from blocks.workspace import KeyturnWorkspace
    from deployments.bootstrap import bootstrap as register
    from deployments.prefect_exposure import insist_on_guarded
    from keyturn.providers.apprise_channel import insist_on_address
    from keyturn.settings.hub import HubSettings

    insist_on_guarded(api)
    if failure_url:
        insist_on_address(Sensitive(failure_url))
    block = KeyturnWorkspace.from_settings(
        catalogue_directory(catalogue).absolute(), HubSettings.from_environment(os.environ)
    )
    note(f"registering with Prefect at {api}")
    asyncio.run(register(block, declared, failure_url, lambda step: note(f"  {step}"), names))
