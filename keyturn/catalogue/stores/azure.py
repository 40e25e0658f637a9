"""The stores of Azure."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import WithJsonSchema, model_validator

from keyturn.core.ports.stores import Details
from keyturn.core.rights import azure_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.store_limits import AZURE_KEY_VAULT, LIMITS
from keyturn.core.text.details import AZURE_MAX_CONTENT_TYPE, AZURE_MAX_TAG, AZURE_TAGS, SHOWN, refuses_names
from keyturn.settings.fields import HttpsUrl, Line, matching, refused
from keyturn.settings.stores import Placed, System

ResourceId = Annotated[
    str,
    matching(
        r"/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[\w.()-]+/providers/Microsoft\.KeyVault/vaults/[A-Za-z0-9-]+",
        "is not the resource id of a Key Vault",
        "Write what `az keyvault show --query id` prints.",
    ),
    WithJsonSchema({"type": "string", "pattern": "^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"}),
]

ClientId = Annotated[
    str,
    matching(
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        "is not the client id of an identity",
        "Write what `az identity show --query clientId` prints.",
    ),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F-]{36}$"}),
]


class AzureKeyVaultSettings(Placed):
    """One Azure Key Vault. Credentials come from Azure's default chain, unless client_id names an identity."""

    kind: Literal["azure-key-vault"]
    """The kind of store."""
    vault_url: HttpsUrl
    """The vault's address: https://NAME.vault.azure.net."""
    ca_file: Line | None = None
    """A PEM file with the CA of the vault's certificate, if it is not a public CA."""
    authority: HttpsUrl | None = None
    """The login address, if not https://login.microsoftonline.com."""
    client_id: ClientId | None = None
    """The client id of the user-assigned identity that logs in to this vault, instead of the environment's login."""

    resource_id: ResourceId | None = None
    """The vault's id in Azure Resource Manager, with which `keyturn doctor` checks the vault's settings."""
    management_url: HttpsUrl | None = None
    """The address of Azure Resource Manager, if not https://management.azure.com."""

    content_type: Line | None = None
    """The default content type of new copies, such as application/json; a value set by others stays."""
    deleted_name: Literal["recover", "purge"] = "recover"
    """The treatment of a deleted secret with the name of a new copy: recover it, or purge it permanently."""

    ADAPTER = "keyturn.providers.azure.store:AzureKeyVault"
    EXTRA = "azure"
    LIMITS = LIMITS[AZURE_KEY_VAULT]
    MERGES = True
    TAKES = SHOWN[AZURE_KEY_VAULT]
    QUOTA = 30.0
    """300 secret creations in 10 seconds."""

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if self.client_id and self.authority:
            problem = "an identity can't log in at a private authority"
            raise refused(problem, "Leave client_id out, or authority.", "client_id")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.vault_url.rstrip("/").casefold())

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        vault = (urlsplit(self.vault_url).hostname or "").partition(".")[0]
        described = self.resource_id is not None
        return azure_rights.key_vault_roles(azure_rights.KeyVault(vault, self.deleted_name, described), copies)

    def refuses_details(self, details: Details) -> str | None:
        if len(details.content_type) > AZURE_MAX_CONTENT_TYPE:
            return f"{self.kind} allows a content type of {AZURE_MAX_CONTENT_TYPE} characters at most"
        return (
            super().refuses_details(details)
            or AZURE_TAGS.refuses(self.kind, details.tags)
            or refuses_names(self.kind, details, AZURE_MAX_TAG)
        )
