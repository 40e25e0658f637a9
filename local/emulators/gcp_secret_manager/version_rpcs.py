"""The calls on versions: add, get, access, list, enable, disable and destroy."""

import time

from keyturn.providers.gcp.client import crc32c
from local.emulators.gcp_secret_manager import filters, rules
from local.emulators.gcp_secret_manager.errors import failed_precondition, invalid, not_found
from local.emulators.gcp_secret_manager.messages import (
    DESTROYED,
    DISABLED,
    ENABLED,
    AccessSecretVersionResponse,
    ListSecretVersionsResponse,
    Pb,
    SecretVersion,
    fresh_etag,
    seconds_of,
    stamp,
)
from local.emulators.gcp_secret_manager.paging import LARGEST_PAGE, page
from local.emulators.gcp_secret_manager.resource_names import read_secret, read_version
from local.emulators.gcp_secret_manager.secret_rpcs import check_etag
from local.emulators.gcp_secret_manager.state import State, StoredSecret, StoredVersion


def add_secret_version(state: State, request: Pb) -> Pb:
    """A new version, enabled, with the next number. The secret's own etag stays as it is."""
    secret = state.secret(read_secret(request.parent))
    checksum = _check_payload(request.payload)
    number = state.newest_version(secret) + 1
    version = SecretVersion(
        name=secret.name.version(number),
        create_time=stamp(),
        state=ENABLED,
        etag=fresh_etag(),
        client_specified_payload_checksum=request.payload.HasField("data_crc32c"),
    )
    _describe_encryption(secret.message, version)
    state.add_version(StoredVersion(secret.seq, number, version), request.payload.data, checksum)
    return version


def get_secret_version(state: State, request: Pb) -> Pb:
    """One version's metadata, by number, by alias, or the latest."""
    return _resolve(state, request.name).message


def access_secret_version(state: State, request: Pb) -> Pb:
    """One version's payload; the version must be enabled. The latest is the newest one, whatever its state."""
    version = _resolve(state, request.name)
    if version.message.state != ENABLED:
        _refuse_state(version)
    data, checksum = state.payload(version)
    return AccessSecretVersionResponse(name=version.message.name, payload={"data": data, "data_crc32c": checksum})


def list_secret_versions(state: State, request: Pb, largest_page: int = LARGEST_PAGE) -> Pb:
    """A page of the secret's versions, newest first."""
    secret = state.secret(read_secret(request.parent))
    wanted = filters.parse(request.filter, SecretVersion)
    answer = page(request, largest_page, lambda before: state.versions(secret, before), wanted)
    total = 0 if request.filter else state.newest_version(secret)
    return ListSecretVersionsResponse(versions=answer.entries, next_page_token=answer.next_token, total_size=total)


def enable_secret_version(state: State, request: Pb) -> Pb:
    """The version can be accessed again; this also calls off a destruction that is scheduled."""
    return _move(state, request, ENABLED)


def disable_secret_version(state: State, request: Pb) -> Pb:
    """The version can't be accessed until it is enabled."""
    return _move(state, request, DISABLED)


def destroy_secret_version(state: State, request: Pb) -> Pb:
    """The payload is erased for good: at once, or after the secret's destruction delay."""
    secret, version = _numbered(state, request)
    if not secret.message.HasField("version_destroy_ttl"):
        state.destroy(version)
        return version.message
    due = time.time() + seconds_of(secret.message.version_destroy_ttl)
    version.message.state = DISABLED
    version.message.etag = fresh_etag()
    version.message.scheduled_destroy_time.CopyFrom(stamp(due))
    state.update_version(version)
    return version.message


def _check_payload(payload: Pb) -> int:
    if not payload.data:
        invalid("Secret Payload cannot be empty.")
    if len(payload.data) > rules.MAX_PAYLOAD:
        invalid(f"The secret payload must not be larger than {rules.MAX_PAYLOAD} bytes, this has {len(payload.data)}.")
    checksum = crc32c(payload.data)
    if payload.HasField("data_crc32c") and payload.data_crc32c != checksum:
        invalid("The checksum of the secret payload does not match its data.")
    return checksum


def _describe_encryption(secret: Pb, version: Pb) -> None:
    """Where a global secret's version lies, or which version of its own key a regional one is encrypted with."""
    if secret.HasField("customer_managed_encryption"):
        key = f"{secret.customer_managed_encryption.kms_key_name}/cryptoKeyVersions/1"
        version.customer_managed_encryption.kms_key_version_name = key
    if secret.replication.WhichOneof("replication") == "automatic":
        version.replication_status.automatic.SetInParent()
    for replica in secret.replication.user_managed.replicas:
        version.replication_status.user_managed.replicas.add(location=replica.location)


def _resolve(state: State, name: str) -> StoredVersion:
    secret_name, which = read_version(name)
    if which == "latest":
        latest = _latest(state, state.find_secret(secret_name))
        return latest or not_found(f"Secret [{secret_name}] not found or has no versions.")
    secret = state.secret(secret_name)
    number = _number(which) or secret.message.version_aliases.get(which, 0)
    version = state.find_version(secret, number)
    return version or not_found(f"Secret Version [{secret_name}/versions/{which}] not found.")


def _latest(state: State, secret: StoredSecret | None) -> StoredVersion | None:
    return state.find_version(secret, state.newest_version(secret)) if secret else None


def _number(which: str) -> int:
    return int(which) if which.isascii() and which.isdigit() and len(which) < 10 else 0


def _numbered(state: State, request: Pb) -> tuple[StoredSecret, StoredVersion]:
    """The version to change: by number only, not yet destroyed, and with the etag that the request asks for."""
    secret_name, which = read_version(request.name)
    number = _number(which) or invalid(f"Invalid version [{which}]: only a number can be enabled, disabled, destroyed.")
    secret = state.secret(secret_name)
    version = state.find_version(secret, number) or not_found(
        f"Secret Version [{secret_name.version(number)}] not found."
    )
    if version.message.state == DESTROYED:
        _refuse_state(version)
    check_etag(request.etag, version.message.etag)
    return secret, version


def _move(state: State, request: Pb, to: int) -> Pb:
    _, version = _numbered(state, request)
    version.message.state = to
    version.message.etag = fresh_etag()
    if to == ENABLED:
        version.message.ClearField("scheduled_destroy_time")
    state.update_version(version)
    return version.message


def _refuse_state(version: StoredVersion) -> None:
    described = version.message.DESCRIPTOR.fields_by_name["state"].enum_type
    failed_precondition(
        f"Secret Version [{version.message.name}] is in {described.values_by_number[version.message.state].name} state."
    )
