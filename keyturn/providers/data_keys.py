"""Envelopes for offline files, by the name of the key that wraps their data keys.

    open_envelope("file:/etc/ml/keyturn.key")
    open_envelope("kms:arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    open_envelope("azure:https://ml.vault.azure.net/keys/offline")
    open_envelope("transit:offline@https://hub-2.example:8200")

Opening a name imports the packages that it needs.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.envelope import DataKeys, Envelope
from keyturn.providers.extras import needing

SHAPES: Final = "file:PATH, kms:ARN, azure:https://VAULT/keys/NAME or transit:NAME[@ADDRESS]"
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
ARN_PARTS: Final = 6


def open_envelope(name: str, env: Mapping[str, str] = os.environ) -> Envelope:
    """Raises Invalid for a malformed name, an unusable file, or a missing extra.

    KMS and the hub are asked only on use.
    """
    from keyturn.providers.keys.aes_gcm import AesEnvelope

    return AesEnvelope(open_data_keys(name, env))


def open_data_keys(name: str, env: Mapping[str, str] = os.environ, *, recovery: bool = False) -> DataKeys:
    """``recovery`` also allows ``x25519:PATH``, whose private half is elsewhere. Raises like :func:`open_envelope`."""
    kind, _, place = name.partition(":")
    match kind if place else "":
        case "file":
            from keyturn.providers.files.data_keys import FileDataKeys

            return FileDataKeys(place)
        case "kms":
            with needing("aws", "open", f"the KMS key {place}"):
                from keyturn.providers.aws.data_keys import KmsDataKeys
            return KmsDataKeys(place, region=_region(place, env))
        case "azure":
            with needing("azure", "open", f"the key {place}"):
                from keyturn.providers.azure.data_keys import AzureDataKeys
            return AzureDataKeys(place)
        case "transit":
            return _transit_keys(place, env)
        case "x25519" if recovery:
            from keyturn.providers.files.recovery_key import RecoveryDataKeys

            return RecoveryDataKeys(place)
        case _:
            raise Invalid("open", f"the key {name}", "it is the name of no key", f"Write {SHAPES}")


def _region(key: str, env: Mapping[str, str]) -> str:
    parts = key.split(":")
    regions = [parts[3]] if len(parts) == ARN_PARTS else [env.get(variable, "") for variable in REGION_VARIABLES]
    for region in regions:
        if region:
            return region
    hint = f"Write its ARN, or set {REGION_VARIABLES[0]}"
    raise Invalid("open", f"the KMS key {key}", "its region is unknown", hint)


def _transit_keys(place: str, env: Mapping[str, str]) -> DataKeys:
    from keyturn.providers.vault.engines.data_keys import TransitDataKeys
    from keyturn.settings.hub import HubSettings

    key, _, address = place.partition("@")
    settings = HubSettings.from_environment(env)
    return TransitDataKeys(replace(settings, address=address or settings.address), key, settings.transit_mount)
