"""Checks of copies that include the previous version of a secret."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from keyturn.catalogue.checks.plain_data import describe_secret, duration, list_at, text_at
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.core.text.mapping import Shape
from keyturn.core.text.references import PREVIOUS, names_previous

TIED: Final[Mapping[str, tuple[str, str]]] = {
    "alternating-users": ("username", "password"),
    "vault-dynamic": ("username", "password"),
    "aws-iam-key": ("access_key_id", "secret_access_key"),
}
"""The name and the secret of credentials whose name changes with each rotation."""

BY_HAND: Final = "manual"


def given_for_a_grace(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    grace, strategy = duration(entry, "grace"), text_at(entry, "rotation", "strategy")
    if grace or (grace is None and strategy != BY_HAND):
        return  # a missing or unreadable grace is reported elsewhere
    for path, whose, _ in telling(entry, world):
        message = f"{whose} gives the version before, and the secret has no grace for which that is kept"
        yield entry.problem(path, message, "Set grace under rotation, or leave previous out.")


def whole_credentials(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    name, secret = TIED.get(text_at(entry, "rotation", "strategy") or "", ("", ""))
    for path, whose, shape in telling(entry, world) if name else ():
        if f"{PREVIOUS}{secret}" in shape.references and f"{PREVIOUS}{name}" not in shape.references:
            message = f"{whose} gives {PREVIOUS}{secret} without the {name} that it belongs to"
            yield entry.problem(path, message, f"Put {PREVIOUS}{name} next to it.")


def telling(entry: CatalogueEntry, world: World) -> Iterator[tuple[KeyPath, str, Shape]]:
    """Yields path, owner and shape of each copy that includes the previous version."""
    for index, place in enumerate(list_at(entry, "destinations")):
        if PREVIOUS in str(place) and (shape := _shape(place)) and shape.tells_previous:
            yield ("destinations", index), "this copy", shape
    for name, sync in world.syncs.items():
        if any(map(names_previous, sync.shape.references)) and sync.covers(entry.name, describe_secret(entry)):
            yield ("rotation",), f"the sync {name}", sync.shape


def _shape(place: Any) -> Shape | None:
    try:
        return Destination.model_validate(place).shape
    except ValidationError:
        return None


CHECKS: Final = (given_for_a_grace, whole_credentials)
