"""The catalogue: YAML files that declare every secret, its rotation, destinations and consumers.

It stands on :mod:`keyturn.core`, pydantic and PyYAML alone.
"""

from keyturn.catalogue.load import find_problems, load
from keyturn.catalogue.models import Catalogue, Classification, Destination, Secret
from keyturn.catalogue.problems import CatalogueInvalid, Problem
from keyturn.catalogue.rotation import (
    AlternatingUsers,
    Generated,
    PasswordSettings,
    Rotation,
    SingleUser,
    Timing,
    VaultDynamic,
    Window,
)
from keyturn.catalogue.schema import schema
from keyturn.catalogue.settings import (
    AwsSecretsManagerSettings,
    AzureKeyVaultSettings,
    ConsumerSettings,
    GcpSecretManagerSettings,
    PostgresqlSettings,
    StoreSettings,
    TargetSettings,
)

__all__ = [
    "AlternatingUsers",
    "AwsSecretsManagerSettings",
    "AzureKeyVaultSettings",
    "Catalogue",
    "CatalogueInvalid",
    "Classification",
    "ConsumerSettings",
    "Destination",
    "GcpSecretManagerSettings",
    "Generated",
    "PasswordSettings",
    "PostgresqlSettings",
    "Problem",
    "Rotation",
    "Secret",
    "SingleUser",
    "StoreSettings",
    "TargetSettings",
    "Timing",
    "VaultDynamic",
    "Window",
    "find_problems",
    "load",
    "schema",
]
