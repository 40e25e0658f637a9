"""The workspace of a Prefect server's runs."""

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
    catalogue: Path
    hub: HubSettings

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> "WorkspaceSettings":
        """Raises Invalid if the environment names no catalogue or no hub."""
        if not (directory := environment.get(CATALOGUE_VARIABLE)):
            hint = "Set it to the directory of the catalogue's files"
            raise Invalid("find", "the catalogue", f"{CATALOGUE_VARIABLE} is not set", hint)
        return WorkspaceSettings(Path(directory), HubSettings.from_environment(environment))

    def open(self, *, lenient: bool = False) -> Workspace:
        """Load the catalogue; the hub connects at its first use. ``lenient`` omits invalid entries."""
        return open_workspace(load_catalogue(self.catalogue, os.environ, lenient=lenient), VaultHub(self.hub))


class KeyturnWorkspace(Block):
    """The name of a workspace, for your own flows; :meth:`open` returns the library's `Workspace`.

    The hub and the catalogue come from the environment of the calling process. Keyturn's own runs do not read this
    block, because every user of Prefect's API can edit it.
    """

    _block_type_name = "Keyturn Workspace"
    _block_type_slug = "keyturn-workspace"

    workspace: str = Field(default=DEFAULT, description="The workspace's name, as its pool and deployments have it.")

    def open(self) -> Workspace:
        """Open the workspace of this process's environment. Raises Invalid if the block names another one."""
        own = WorkspaceNames.from_environment(os.environ).name
        if own != self.workspace:
            problem = f"the block names {self.workspace}, and this process's environment is of {own}"
            raise Invalid("open", "the workspace", problem, f"Set {VARIABLE}, and VAULT_ADDR and the rest of it")
        return WorkspaceSettings.from_environment(os.environ).open()
