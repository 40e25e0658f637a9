"""The stores there are: to add one, add a line."""

from typing import Final

STORES: Final = (
    "keyturn.catalogue.stores.aws.AwsSecretsManagerSettings",
    "keyturn.catalogue.stores.aws.AwsParameterStoreSettings",
    "keyturn.catalogue.stores.azure.AzureKeyVaultSettings",
    "keyturn.catalogue.stores.gcp.GcpSecretManagerSettings",
    "keyturn.catalogue.stores.kubernetes.KubernetesSettings",
    "keyturn.catalogue.stores.vault.VaultSettings",
    "keyturn.catalogue.stores.github.GitHubActionsSettings",
    "keyturn.catalogue.stores.files.FileSettings",
)
"""The settings of each kind of store, by the name of their class; they name the adapter in turn.

By name, since the file of a whole store lies in :mod:`keyturn.providers`, of which the catalogue knows nothing.
"""
