"""A key of Azure Key Vault."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, WithJsonSchema, model_validator

from keyturn.core.rights import azure_rights
from keyturn.core.rights.rights import Document
from keyturn.settings.fields import Duration, HttpsUrl, Line, matching, refused
from keyturn.settings.keys import KeyBase

SHORTEST: Final = timedelta(days=28)
MARGIN: Final = timedelta(days=7)
"""The shortest life of a version, and the time from its beginning and to its end without rotation. Source: "Configure
cryptographic key auto-rotation in Azure Key Vault"."""


def _days(span: timedelta) -> timedelta:
    if span % timedelta(days=1) or not span:
        raise refused("is no number of days", "Write days: 30d.")
    return span


Days = Annotated[Duration, AfterValidator(_days)]
NAME: Final = r"[0-9A-Za-z-]{1,127}"
KeyName = Annotated[
    str,
    matching(NAME, "is no name of a key", "Use letters, digits and hyphens."),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]


class AzureKeySettings(KeyBase):
    """A key of one Azure Key Vault. Credentials come from Azure's default chain."""

    kind: Literal["azure-key-vault"]
    """The kind of key."""
    vault_url: HttpsUrl
    """The vault's address: https://NAME.vault.azure.net."""
    key: KeyName
    """The key's name in the vault."""
    automatic: Days | None = None
    """The age at which Azure itself replaces a version, at least 7d."""
    expires_after: Days | None = None
    """The lifetime of a new version, at least 28d. The policy stays unchanged without automatic, expires_after and
    notify_before."""
    notify_before: Days | None = None
    """The time before a version's end at which Event Grid reports it, at least 7d."""
    ca_file: Line | None = None
    """A PEM file with the CA of the vault's certificate, if it is not a public CA."""
    authority: HttpsUrl | None = None
    """The login address, if not https://login.microsoftonline.com."""

    ADAPTER = "keyturn.providers.azure.keys:AzureKey"
    EXTRA = "azure"

    @model_validator(mode="after")
    def _within_a_life(self) -> Self:
        life = self.expires_after
        if life and life < SHORTEST:
            raise refused("is shorter than Azure allows", "Write 28d or more.", "expires_after")
        if self.notify_before and (life is None or not MARGIN <= self.notify_before < life):
            raise refused("does not fit a version's life", "Say expires_after, and at least 7d.", "notify_before")
        if self.automatic and not MARGIN <= self.automatic <= (life - MARGIN if life else timedelta.max):
            raise refused("does not fit a version's life", "Leave 7d from its beginning and to its end.", "automatic")
        return self

    @property
    def place(self) -> str:
        return f"Key Vault {self.vault} {self.key}"

    @property
    def vault(self) -> str:
        return (urlsplit(self.vault_url).hostname or "").partition(".")[0]

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        policy = any((self.automatic, self.expires_after, self.notify_before))
        return azure_rights.key_roles(azure_rights.KeyVault(self.vault), self.key, file, origin, policy=policy)
