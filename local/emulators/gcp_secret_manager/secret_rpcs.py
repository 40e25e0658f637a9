"""The calls on secrets: create, get, update, list and delete."""

from typing import Final

import grpc

from local.emulators.gcp_secret_manager import filters, rules
from local.emulators.gcp_secret_manager.errors import Refused, failed_precondition, invalid
from local.emulators.gcp_secret_manager.messages import (
    Empty,
    ListSecretsResponse,
    Pb,
    Secret,
    fresh_etag,
    stamp,
)
from local.emulators.gcp_secret_manager.paging import LARGEST_PAGE, page
from local.emulators.gcp_secret_manager.resource_names import read_parent, read_secret, secret_name
from local.emulators.gcp_secret_manager.state import State

_UPDATABLE: Final = frozenset({"labels", "annotations", "version_aliases", "ttl", "expire_time", "version_destroy_ttl"})


def create_secret(state: State, request: Pb) -> Pb:
    """A new secret without versions. Output-only fields of the request are ignored."""
    name = secret_name(read_parent(request.parent), request.secret_id)
    secret = Secret()
    secret.CopyFrom(request.secret)
    rules.check_place(secret, name.location)
    rules.settle_expiration(secret)
    _check(secret, newest=0)
    if state.find_secret(name):
        raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
    secret.name = str(name)
    secret.create_time.CopyFrom(stamp())
    secret.etag = fresh_etag()
    state.create_secret(name, secret)
    return secret


def get_secret(state: State, request: Pb) -> Pb:
    """One secret's metadata."""
    return state.secret(read_secret(request.name)).message


def update_secret(state: State, request: Pb) -> Pb:
    """The fields that the mask names take the request's values, whole; every update gives a new etag."""
    wanted, paths = request.secret, list(request.update_mask.paths)
    if not paths:
        invalid("Field [update_mask] is required.")
    if unknown := sorted(set(paths) - _UPDATABLE):
        invalid(f"Field [update_mask] names fields that can't be updated: {', '.join(unknown)}.")
    secret = state.secret(read_secret(wanted.name))
    check_etag(wanted.etag, secret.message.etag)
    for path in paths:
        _replace(secret.message, wanted, path)
    _check(secret.message, state.newest_version(secret))
    secret.message.etag = fresh_etag()
    state.update_secret(secret)
    return secret.message


def list_secrets(state: State, request: Pb, largest_page: int = LARGEST_PAGE) -> Pb:
    """A page of a project's global secrets, or of those of one location, newest first."""
    home = read_parent(request.parent)
    wanted = filters.parse(request.filter, Secret)
    answer = page(request, largest_page, lambda before: state.secrets(home, before), wanted)
    total = 0 if request.filter else state.count_secrets(home)
    return ListSecretsResponse(secrets=answer.entries, next_page_token=answer.next_token, total_size=total)


def delete_secret(state: State, request: Pb) -> Pb:
    """The secret and all its versions are gone at once, and for good."""
    secret = state.secret(read_secret(request.name))
    check_etag(request.etag, secret.message.etag)
    state.delete_secret(secret)
    return Empty()


def check_etag(etag: str, current: str) -> None:
    """Without an etag nothing is checked (source: "Use entity tags for optimistic concurrency control")."""
    if etag and etag != current:
        failed_precondition("The etag provided in the request does not match the resource's current etag.")


def _check(secret: Pb, newest: int) -> None:
    rules.check_supported(secret)
    rules.check_labels(secret.labels)
    rules.check_annotations(secret.annotations)
    rules.check_aliases(secret.version_aliases, newest)
    rules.check_destroy_delay(secret)


def _replace(secret: Pb, wanted: Pb, path: str) -> None:
    if path in ("ttl", "expire_time"):
        _replace_expiration(secret, wanted)
        return
    secret.ClearField(path)
    if path == "version_destroy_ttl":
        if wanted.HasField(path):
            secret.version_destroy_ttl.CopyFrom(wanted.version_destroy_ttl)
    else:
        getattr(secret, path).update(getattr(wanted, path))


def _replace_expiration(secret: Pb, wanted: Pb) -> None:
    """Both paths stand for the one expiration; leaving it empty removes it."""
    secret.ClearField("expire_time")
    if kind := wanted.WhichOneof("expiration"):
        getattr(secret, kind).CopyFrom(getattr(wanted, kind))
        rules.settle_expiration(secret)
