"""A second Vault or OpenBao as a store."""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import model_validator

from keyturn.core.ports.stores import Details
from keyturn.core.rights import vault_store_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.store_limits import LIMITS, VAULT
from keyturn.core.text.details import SHOWN, VAULT_MAX_TEXT, VAULT_TAGS, refuses_names
from keyturn.settings.fields import HubPath, Line, WebUrl, keep_plain_http_at_home, refused
from keyturn.settings.stores import Placed, System


class VaultSettings(Placed):
    """A KV v2 mount of another Vault or OpenBao than the hub."""

    kind: Literal["vault"]
    """The kind of store."""
    address: WebUrl
    """Its address; plain http only on loopback."""
    mount: HubPath = "secret"
    """The KV v2 mount."""
    namespace: Line | None = None
    """The namespace of the mount."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, if it is not a public CA."""
    token_file: Line | None = None
    """A file with a token; either this or an AppRole."""
    role_id_file: Line | None = None
    """A file with an AppRole's role id."""
    secret_id_file: Line | None = None
    """A file with the AppRole's secret id."""

    ADAPTER = "keyturn.providers.vault.store:VaultStore"
    ASKS = "keyturn.providers.vault.rights:ask_second_vault"
    LIMITS = LIMITS[VAULT]
    MERGES = True
    TAKES = SHOWN[VAULT]

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        keep_plain_http_at_home(self.address, False, "Use https.", "address")
        if (self.token_file is None) == (self.role_id_file is None):
            raise refused("says no login, or two", "Give token_file, or role_id_file and secret_id_file.", "token_file")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.address.rstrip("/").casefold(), self.namespace or "", self.mount)

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        return vault_store_rights.store_policies(self.mount, copies)

    def refuses_details(self, details: Details) -> str | None:
        return (
            super().refuses_details(details)
            or VAULT_TAGS.refuses(self.kind, details.tags)
            or refuses_names(self.kind, details, VAULT_MAX_TEXT)
        )
