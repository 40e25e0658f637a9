"""Expand patterns of fields to destinations by CURRENT's field names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.destinations import EVERY_FIELD, DeclaredPlace, Destination, FieldPattern
from keyturn.catalogue.spreading import SameName
from keyturn.core.errors import KeyturnError
from keyturn.core.plan import Action, Item
from keyturn.core.ports.hub import Survey
from keyturn.rotation.state.context import Workspace, side_by_side

AT_ONCE: Final = 16


@dataclass(frozen=True)
class SpreadPlaces:
    """The destinations of each secret, and the patterns of secrets with unknown fields.

    ``unknown`` has the reasons. ``absent`` secrets have no readable version.
    """

    places: Mapping[str, tuple[Destination, ...]]
    patterns: Mapping[str, tuple[FieldPattern, ...]]
    unknown: Mapping[str, KeyturnError]
    absent: frozenset[str]

    def may_own(self, path: str, name: str) -> bool:
        """Whether the name may be a copy of this secret's unknown field."""
        unspread = path in self.unknown or path in self.absent
        return unspread and any(pattern.owns(name) for pattern in self.patterns[path])


def spread_by_fields(
    workspace: Workspace, declared: Mapping[str, tuple[DeclaredPlace, ...]], secrets: Survey
) -> SpreadPlaces:
    """The destinations with patterns expanded. Reads CURRENT only for field names."""
    patterns = {path: several for path, places in declared.items() if (several := _patterns(places))}
    places = {path: _plain(some) for path, some in declared.items()}
    unknown = {path: error for path in patterns if (error := secrets.error(path))}
    present = [path for path in patterns if path not in unknown and path in secrets and secrets[path].served]
    answers = side_by_side(lambda path: _places(workspace, path), present, AT_ONCE)
    for path, answer in zip(present, answers, strict=True):
        if isinstance(answer, KeyturnError):
            unknown[path] = answer
        else:
            places[path] = answer
    absent = frozenset(patterns.keys() - unknown.keys() - frozenset(present))
    return SpreadPlaces(places, patterns, unknown, absent)


def _patterns(places: tuple[DeclaredPlace, ...]) -> tuple[FieldPattern, ...]:
    return tuple(place for place in places if isinstance(place, FieldPattern))


def _plain(places: tuple[DeclaredPlace, ...]) -> tuple[Destination, ...]:
    return tuple(place for place in places if isinstance(place, Destination))


def _places(workspace: Workspace, path: str) -> tuple[Destination, ...] | KeyturnError:
    """The destinations of one secret, or any error."""
    try:
        return workspace.places(path)
    except KeyturnError as error:
        return error


def unspread_item(path: str, pattern: FieldPattern, error: KeyturnError) -> Item:
    """The item for all copies of an unknown or colliding pattern."""
    action = Action.CONFLICT if isinstance(error, SameName) else Action.BLOCKED
    return Item(action, path, pattern.store, pattern.place.name, why=str(error), kind=type(error).__name__)


def noted_place(pattern: FieldPattern, name: str) -> Destination:
    """The destination of an existing copy of any field."""
    return pattern.place.alone(name, EVERY_FIELD)
