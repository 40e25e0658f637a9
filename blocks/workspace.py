"""Where the catalogue and the hub are: the one block that a worker needs to open everything else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from prefect.blocks.core import Block
from pydantic import Field

from keyturn.catalogue import load_catalogue
from keyturn.providers.registry import open_workspace
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import (
    AUTH,
    ROLE_ID_FILE,
    TOKEN_FILE,
    HubLogin,
    KubernetesLogin,
    TokenLogin,
    login_from_environment,
)
from keyturn.settings.tls import refuse_unread

OWN_LOGIN: Final = (AUTH, ROLE_ID_FILE, TOKEN_FILE)
"""Each of these says that a process has a login of its own."""
LOGINS: Final = {login.__name__: login for login in (*get_args(HubLogin), KubernetesLogin)}


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
    login: dict[str, str | None] = Field(
        default={}, description="How a worker logs in whose environment does not say it: names of files and of roles."
    )
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
        login = {"method": type(hub.login).__name__, **vars(hub.login)}
        return KeyturnWorkspace(catalogue=str(catalogue), **vars(hub) | {"login": login})

    def _event_method_called_resources(self) -> None:
        """Every run loads this block: that is no news, and Prefect keeps no event of it."""

    def open(self) -> Workspace:
        """Load the catalogue, with the worker's environment, and connect to the hub when first asked.

        A worker whose environment names a login of its own uses that: what may revoke is not for every worker.
        """
        refuse_unread(os.environ)
        settings = self.model_dump(include=set(HubSettings.__dataclass_fields__))
        settings["login"] = own_login(os.environ) or login_of(self.login)
        return open_workspace(load_catalogue(Path(self.catalogue), os.environ), VaultHub(HubSettings(**settings)))


def own_login(environment: Mapping[str, str]) -> HubLogin | None:
    """This process's own login, where its environment names one; it replaces all of the block's."""
    named = any(environment.get(variable) for variable in OWN_LOGIN)
    return login_from_environment(environment) if named else None


def login_of(stored: Mapping[str, str | None]) -> HubLogin:
    """The login that a block keeps."""
    settings: dict[str, Any] = dict(stored)
    login: HubLogin = LOGINS[settings.pop("method", TokenLogin.__name__)](**settings)
    return login
