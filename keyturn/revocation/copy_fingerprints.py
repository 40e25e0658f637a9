"""The fingerprints of a version and of its copies."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Final

from keyturn.catalogue.spreading import all_places, plain_places
from keyturn.core.errors import Invalid
from keyturn.core.fingerprint import Fingerprint
from keyturn.core.ports.hub import HubSecret
from keyturn.rotation.copies.push import text_of
from keyturn.rotation.state.context import Workspace

NEAR: Final = 8
"""Earlier versions that a copy may have given too, abandoned ones included."""


def digests_beside(
    workspace: Workspace, secret: HubSecret, older: Iterable[HubSecret]
) -> Iterator[tuple[str, Fingerprint]]:
    """The fingerprints, by ``store:name``, of copies that gave this version with an older one."""
    places = [place for place in plain_places(workspace.catalogue, secret.path) if place.shape.tells_previous]
    near = islice((version for version in older if version.version < secret.version), NEAR) if places else ()
    for previous in near:
        for place in places:
            with suppress(Invalid):
                yield (
                    place.label,
                    workspace.fingerprint_of(secret.path, text_of(replace(secret, previous=previous), place)),
                )


def version_fingerprints(workspace: Workspace, secret: HubSecret) -> dict[str, Fingerprint]:
    """The fingerprint of a version under the empty name, and its copies' under ``store:name``."""
    made = {"": workspace.fingerprint(secret.path, secret.fields)}
    for place in all_places(workspace.catalogue, secret.path, secret.fields):
        # A copy that can't be made of this version never existed.
        with suppress(Invalid):
            made[place.label] = workspace.fingerprint_of(secret.path, text_of(secret, place))
    return made
