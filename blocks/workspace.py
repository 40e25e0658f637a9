"""Which workspace a Prefect server's runs belong to. Where its hub and its catalogue are, no server says."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field

from keyturn.catalogue import load_catalogue
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import CATALOGUE_VARIABLE, DEFAULT, VARIABLE, WorkspaceNames
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.wiring.registry import open_workspace


@dataclass(frozen=True)
class WorkspaceSettings:
    """What leads to a workspace: its catalogue's directory, and its hub with the login to it."""

    catalogue: Path
    hub: HubSettings

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> "WorkspaceSettings":
        """What this process's own environment says. Raises Invalid where it says nothing of the kind."""
        if not (directory := environment.get(CATALOGUE_VARIABLE)):
            hint = "Set it to the directory of the catalogue's files"
            raise Invalid("find", "the catalogue", f"{CATALOGUE_VARIABLE} is not set", hint)
        return WorkspaceSettings(Path(directory), HubSettings.from_environment(environment))

    def open(self, *, lenient: bool = False) -> Workspace:
        """Load the catalogue, and connect to the hub when it is first asked. ``lenient`` leaves out what is broken."""
        return open_workspace(load_catalogue(self.catalogue, os.environ, lenient=lenient), VaultHub(self.hub))


class KeyturnWorkspace(Block):
    """The name of a workspace, for flows of your own; :meth:`open` gives the library's `Workspace`.

    Where its hub and its catalogue are is said by the environment of whoever opens it. Keyturn's own runs don't read
    this block: whoever may call Prefect's API may change it.
    """

    _block_type_name = "Keyturn Workspace"
    _block_type_slug = "keyturn-workspace"

    workspace: str = Field(default=DEFAULT, description="The workspace's name, as its pool and deployments have it.")

    def open(self) -> Workspace:
        """Open the workspace of this process's environment. Raises Invalid where that is another one."""
        own = WorkspaceNames.from_environment(os.environ).name
        if own != self.workspace:
            problem = f"the block names {self.workspace}, and this process's environment is of {own}"
            raise Invalid("open", "the workspace", problem, f"Set {VARIABLE}, and VAULT_ADDR and the rest of it")
        return WorkspaceSettings.from_environment(os.environ).open()
