"""The stores of Azure."""

from typing import Literal

from keyturn.catalogue.stores.base import StoreBase, System
from keyturn.settings.fields import HttpsUrl, Line


class AzureKeyVaultSettings(StoreBase):
    """One Azure Key Vault. Credentials come from Azure's default chain."""

    kind: Literal["azure-key-vault"]
    """Which store this is."""
    vault_url: HttpsUrl
    """The vault's address: https://NAME.vault.azure.net."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the vault's certificate, where it is not a public one."""
    authority: HttpsUrl | None = None
    """Another address for logging in than https://login.microsoftonline.com."""

    content_type: Line | None = None
    """The content type of new copies, such as application/json; what others have set stays."""
    deleted_name: Literal["recover", "purge"] = "recover"
    """What is done with a deleted secret that still has the name of a new copy: recover it, or purge it for good."""

    @property
    def system(self) -> System:
        """The vault."""
        return (self.kind, self.vault_url.rstrip("/").casefold())
