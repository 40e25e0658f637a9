"""Registry of the kinds of store: add one line for a new kind."""

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
    "http-store": "keyturn.catalogue.stores.http.HttpStoreSettings",
}
"""Paths of the settings classes, which name their adapters. A path, since the file of a whole store may be in
:mod:`keyturn.providers`, which the catalogue does not import itself."""
