"""The stores there are: to add one, add a line."""

from typing import Final

STORES: Final = {
    "aws-secrets-manager": "keyturn.catalogue.stores.aws.AwsSecretsManagerSettings",
    "aws-parameter-store": "keyturn.catalogue.stores.aws.AwsParameterStoreSettings",
    "azure-key-vault": "keyturn.catalogue.stores.azure.AzureKeyVaultSettings",
    "gcp-secret-manager": "keyturn.catalogue.stores.gcp.GcpSecretManagerSettings",
    "kubernetes": "keyturn.catalogue.stores.kubernetes.KubernetesSettings",
    "vault": "keyturn.catalogue.stores.vault.VaultSettings",
    "github-actions": "keyturn.catalogue.stores.github.GitHubActionsSettings",
    "file": "keyturn.catalogue.stores.files.FileSettings",
}
"""The settings of each kind of store, by the name of their class; they name the adapter in turn.

By name, since the file of a whole store lies in :mod:`keyturn.providers`, of which the catalogue knows nothing; and it
is imported where a catalogue declares such a store.
"""
