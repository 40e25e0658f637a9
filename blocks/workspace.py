"""Where the catalogue and the hub are: the one block that a worker needs to open everything else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prefect.blocks.core import Block
from pydantic import Field

from keyturn.catalogue import load_catalogue
from keyturn.providers.registry import open_workspace
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.login import HubSettings
from keyturn.providers.vault.tls import refuse_unread
from keyturn.rotation.context import Workspace

LOGIN_FILES: Final = {
    "role_id_file": "KEYTURN_HUB_ROLE_ID_FILE",
    "secret_id_file": "KEYTURN_HUB_SECRET_ID_FILE",
    "token_file": "KEYTURN_HUB_TOKEN_FILE",
}


class KeyturnWorkspace(Block):
    """One catalogue and its hub, as a Prefect server keeps them; :meth:`open` gives the library's `Workspace`.

    Logins are named, not held: files and environment variables of the worker.
    """

    _block_type_name = "Keyturn Workspace"
    _block_type_slug = "keyturn-workspace"

    catalogue: str = Field(description="The directory of the catalogue's YAML files, on the worker.")
    address: str = Field(description="The hub's address, such as https://vault.example.com:8200.")
    mount: str = Field(default="secret", description="The KV v2 mount that holds the secrets.")
    state_mount: str = Field(default="keyturn", description="The KV v2 mount that holds Keyturn's own state.")
    namespace: str | None = Field(default=None, description="The hub's namespace.")
    ca_file: str | None = Field(default=None, description="The CA of the hub's certificate, where it is not public.")
    client_cert_file: str | None = Field(default=None, description="A certificate to show to the hub, if it asks.")
    client_key_file: str | None = Field(default=None, description="The private key of that certificate.")
    tls_server_name: str | None = Field(
        default=None, description="The name in the hub's certificate, where the address has another one."
    )
    role_id_file: str | None = Field(default=None, description="The file with the worker's AppRole role id.")
    secret_id_file: str | None = Field(default=None, description="The file with the worker's AppRole secret id.")
    approle_mount: str = Field(default="approle", description="Where the AppRole method is mounted.")
    token_file: str | None = Field(default=None, description="A file with a token, instead of the AppRole.")
    token_env: str = Field(default="VAULT_TOKEN", description="The variable that holds a token, if no file does.")
    lease_token_role: str | None = Field(
        default=None,
        description="The token role (auth/token/roles) that leases of the database engine are asked for with.",
    )
    insecure_http: bool = Field(
        default=False, description="Whether the hub may be spoken to in clear on another machine."
    )
    transit_mount: str = Field(default="transit", description="The transit engine that holds the ledger's key.")

    @staticmethod
    def from_settings(catalogue: Path, hub: HubSettings) -> "KeyturnWorkspace":
        """The same settings as a block."""
        return KeyturnWorkspace(catalogue=str(catalogue), **vars(hub))

    def _event_method_called_resources(self) -> None:
        """Every run loads this block: that is no news, and Prefect keeps no event of it."""

    def open(self) -> Workspace:
        """Load the catalogue, with the worker's environment, and connect to the hub when first asked.

        A worker whose environment names a login of its own uses that: what may revoke is not for every worker.
        """
        refuse_unread(os.environ)
        settings = self.model_dump(include=set(HubSettings.__dataclass_fields__)) | own_login(os.environ)
        return open_workspace(load_catalogue(Path(self.catalogue), os.environ), VaultHub(HubSettings(**settings)))


def own_login(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The files with this process's own login, where its environment names any; they replace all of the block's."""
    named = {field: environment.get(variable) or None for field, variable in LOGIN_FILES.items()}
    return named if any(named.values()) else {}
