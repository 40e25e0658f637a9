"""Where copies go, with patterns of fields spread by the names of CURRENT's fields; what can't be told is not none."""

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
    """The places of each secret, and the patterns of those whose fields can't be told.

    ``unknown`` says why; of the ``absent`` ones the hub has no version that it gives.
    """

    places: Mapping[str, tuple[Destination, ...]]
    patterns: Mapping[str, tuple[FieldPattern, ...]]
    unknown: Mapping[str, KeyturnError]
    absent: frozenset[str]

    def may_own(self, path: str, name: str) -> bool:
        """Whether a copy of that name may be of a field of this secret, whose fields can't be told."""
        unspread = path in self.unknown or path in self.absent
        return unspread and any(pattern.owns(name) for pattern in self.patterns[path])


def spread_by_fields(
    workspace: Workspace, declared: Mapping[str, tuple[DeclaredPlace, ...]], secrets: Survey
) -> SpreadPlaces:
    """The same places, with those of patterns one by one; CURRENT is read for its names, of such secrets alone."""
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
    """The places of one secret; an error is part of the answer."""
    try:
        return workspace.places(path)
    except KeyturnError as error:
        return error


def unspread_item(path: str, pattern: FieldPattern, error: KeyturnError) -> Item:
    """All copies of a pattern, of which nothing can be told now, or which would be one another's."""
    action = Action.CONFLICT if isinstance(error, SameName) else Action.BLOCKED
    return Item(action, path, pattern.store, pattern.place.name, why=str(error), kind=type(error).__name__)


def noted_place(pattern: FieldPattern, name: str) -> Destination:
    """The place of a copy that is there, whichever field it is of."""
    return pattern.place.alone(name, EVERY_FIELD)
