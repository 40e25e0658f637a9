"""The kinds of managed key there are: to add one, add a line."""

from typing import Final

KEYS: Final = {
    "aws-kms": "keyturn.catalogue.keys.aws.AwsKmsKeySettings",
    "azure-key-vault": "keyturn.catalogue.keys.azure.AzureKeySettings",
    "transit": "keyturn.catalogue.keys.transit.TransitKeySettings",
}
"""The settings of each kind of key, by the name of their class; they name the adapter in turn."""
