"""The labels of a copy, wanted and actual: tags, descriptions, expiries."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from keyturn.catalogue.checks import copy_metadata as beside
from keyturn.catalogue.destinations import Destination
from keyturn.core.ports.hub import EXPIRES_AT, HubSecret, SecretInfo
from keyturn.core.ports.stores import ANNOTATION, Detail, Details, RemoteSecret, describer
from keyturn.rotation.state.context import Workspace

UNKNOWN_KEY: Final = "its marks were made with a key that is retired, or that this hub does not have"

MARKED_ANEW: Final = "its fingerprint is by the previous key: it is re-marked"

WORDS: Final = {
    Detail.DESCRIPTION: "another description",
    Detail.CONTENT_TYPE: "another content type",
    Detail.EXPIRY: "another expiry",
}


def asks(workspace: Workspace, destination: Destination, copy: RemoteSecret) -> bool:
    """Whether the catalogue wants labels on a copy, or did before."""
    if copy.marks is None:
        return False
    return bool(copy.marks.tags) or beside.asks(destination, workspace.catalogue.store(destination.store))


def details_of(workspace: Workspace, destination: Destination, wanted: HubSecret | SecretInfo) -> Details:
    """The labels for the copy of this version."""
    store = workspace.catalogue.store(destination.store)
    return beside.details(destination, store, made_at(wanted), wanted.marked(EXPIRES_AT))


def made_at(wanted: HubSecret | SecretInfo) -> datetime | None:
    """When the hub made the version."""
    newest = wanted if isinstance(wanted, HubSecret) else wanted.newest
    return newest.created_at if newest else None


def describe_copies(workspace: Workspace, store: str, copies: Sequence[RemoteSecret]) -> list[RemoteSecret]:
    """Copies with their labels, read where still unknown. Raises read errors."""
    describing = describer(workspace.open_store(store))
    if describing is None or all(copy.details for copy in copies):
        return list(copies)
    return describing.with_details(copies)


def wrong_beside(
    workspace: Workspace, destination: Destination, shown: RemoteSecret, wanted: HubSecret | SecretInfo
) -> str:
    """How a copy's labels differ from the catalogue's, in words; empty where they don't.

    A value's own expiry is compared only where the catalogue wants one. Unread labels count as equal.
    """
    if not asks(workspace, destination, shown):
        return ""
    details = details_of(workspace, destination, wanted)
    return differing(details if destination.expires_after else replace(details, expires_at=None), shown)


def outlived_mark(workspace: Workspace, copy: RemoteSecret) -> str:
    """Why a copy needs a new mark, because its fingerprint's key is outdated; else empty."""
    outlived = copy.marks is not None and workspace.fingerprint_keys.outlived(copy.marks.fingerprint)
    return MARKED_ANEW if outlived else ""


def differing(details: Details, shown: RemoteSecret) -> str:
    """How the labels differ, including a tag of Keyturn's that is no longer wanted."""
    if shown.details is None or shown.marks is None:
        return ""
    kinds = ((details.tags, shown.details.tags), (details.annotations, shown.details.annotations))
    names = {name for wanted, there in kinds for name, text in wanted.items() if there.get(name) != text}
    names |= {name.removeprefix(ANNOTATION) for name in set(shown.marks.tags) ^ set(details.names)}
    words = [f"other tags ({', '.join(sorted(names))})"] if names else []
    words += [WORDS[detail] for detail in WORDS if detail in details.differing(shown.details)]
    return f"it has {' and '.join(words)}" if words else ""


def digest_of(workspace: Workspace, destination: Destination, wanted: HubSecret | SecretInfo) -> str:
    """A digest of the labels that the catalogue wants, for plans; empty for none."""
    if not beside.asks(destination, workspace.catalogue.store(destination.store)):
        return ""
    text = json.dumps(vars(details_of(workspace, destination, wanted)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def outlives_copy(workspace: Workspace, destination: Destination, wanted: HubSecret | SecretInfo) -> str:
    """Why a copy of this version would already be expired, by ``expires_after``; else empty."""
    end = beside.expiry(destination, made_at(wanted), None)
    if end is None or end > workspace.clock():
        return ""
    return f"version {wanted.version} is over since {end:%Y-%m-%d %H:%M} UTC, by its expires_after"
