"""Registry of the kinds of managed key: add one line for a new kind."""

from typing import Final

KEYS: Final = {
    "aws-kms": "keyturn.catalogue.keys.aws.AwsKmsKeySettings",
    "azure-key-vault": "keyturn.catalogue.keys.azure.AzureKeySettings",
    "transit": "keyturn.catalogue.keys.transit.TransitKeySettings",
}
"""Paths of the settings classes, which name their adapters."""
