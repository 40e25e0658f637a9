"""Copies written straight into the clouds' files, as a push by Keyturn would leave them: in seconds, not minutes."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from google.cloud.secretmanager_v1.types import service
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from benchmarks.bare import FOLDER, PROJECT, REGION
from benchmarks.clouds import Clouds, fields_of
from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws.secrets_manager import version_id
from keyturn.providers.vault.hub import VaultHub
from local.emulators.aws import secrets_manager
from local.emulators.aws import state as aws_state
from local.emulators.azure_key_vault.state import Entry, Version
from local.emulators.azure_key_vault.state import State as AzureState
from local.emulators.gcp_secret_manager import secret_rpcs, version_rpcs
from local.emulators.gcp_secret_manager.state import State as GcpState
from local.support.files import private_directory

Copies = list[tuple[str, str, OwnershipTags]]
"""Names, texts and marks."""


def lay(clouds: Clouds) -> None:
    """Put a copy of each secret into each of the clouds, which must be stopped."""
    copies = list(copies_of(clouds))
    _into_aws(clouds.directory / "aws", copies)
    _into_azure(clouds.directory / "azure", copies)
    _into_gcp(clouds.directory / "gcp", copies)


def copies_of(clouds: Clouds) -> Iterator[tuple[str, str, OwnershipTags]]:
    """The copy of each secret."""
    hub = VaultHub(clouds.settings)
    keys = hub.fingerprint_keys()
    hub.close()
    for name in clouds.names:
        text = payload(SecretFields(fields_of(name)))
        yield name, text.reveal(), OwnershipTags(f"{FOLDER}/{name}", 1, keys.make(f"{FOLDER}/{name}", text))


def _into_aws(directory: Path, copies: Copies) -> None:
    secrets_manager.install()
    held = secretsmanager_backends[DEFAULT_ACCOUNT_ID][REGION].secrets
    now = int(time.time())
    for name, text, marks in copies:
        version = version_id(marks)
        fields = {"secret_string": text, "createdate": now, "version_id": version, "version_stages": ["AWSCURRENT"]}
        tags = [{"Key": key, "Value": value} for key, value in marks.to_tags().items()]
        held[name] = FakeSecret(DEFAULT_ACCOUNT_ID, REGION, name, fields, version, text, tags=tags, created_date=now)
    aws_state.save(private_directory(directory) / "secrets.json")


def _into_azure(directory: Path, copies: Copies) -> None:
    state, now = AzureState(directory), int(time.time())
    with state.transaction():
        for name, text, marks in copies:
            state.put_entry("secrets", Entry(name))
            state.put_version("secrets", name, Version(uuid.uuid4().hex, now, now, tags=marks.to_tags(), body=text))
    state.close()


def _into_gcp(directory: Path, copies: Copies) -> None:
    state = GcpState(directory)
    create, add = service.CreateSecretRequest.pb(), service.AddSecretVersionRequest.pb()
    with state.transaction():
        for name, text, marks in copies:
            tags = {**marks.to_tags(), "keyturn-version": "1"}
            labels = {"keyturn-managed-by": tags.pop("keyturn-managed-by")}
            secret = {"replication": {"automatic": {}}, "labels": labels, "annotations": tags}
            made = secret_rpcs.create_secret(state, create(parent=f"projects/{PROJECT}", secret_id=name, secret=secret))
            version_rpcs.add_secret_version(state, add(parent=made.name, payload={"data": text.encode()}))
    state.close()
