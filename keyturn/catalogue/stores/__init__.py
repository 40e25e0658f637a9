"""The stores that secrets are pushed to: one file for those of one maker, one model for each kind."""

from typing import Annotated

from pydantic import Field

from keyturn.catalogue.stores.aws import AwsParameterStoreSettings, AwsSecretsManagerSettings
from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.catalogue.stores.files import FileSettings
from keyturn.catalogue.stores.gcp import GcpSecretManagerSettings
from keyturn.catalogue.stores.github import GitHubActionsSettings
from keyturn.catalogue.stores.kubernetes import KubernetesSettings
from keyturn.catalogue.stores.vault import VaultSettings

__all__ = [
    "AwsParameterStoreSettings",
    "AwsSecretsManagerSettings",
    "AzureKeyVaultSettings",
    "FileSettings",
    "GcpSecretManagerSettings",
    "GitHubActionsSettings",
    "KubernetesSettings",
    "StoreSettings",
    "VaultSettings",
]

StoreSettings = Annotated[
    AwsSecretsManagerSettings
    | AwsParameterStoreSettings
    | AzureKeyVaultSettings
    | GcpSecretManagerSettings
    | KubernetesSettings
    | VaultSettings
    | GitHubActionsSettings
    | FileSettings,
    Field(discriminator="kind"),
]
