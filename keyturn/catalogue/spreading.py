"""Copies for each field that matches a pattern, from the names of a secret's fields."""

from collections.abc import Iterable
from typing import Final

from keyturn.catalogue.destinations import Destination, FieldPattern
from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Invalid
from keyturn.core.text.references import Unfit

MOST_FIELDS: Final = 100
"""The most copies of one secret by one pattern; more fields are probably unintended data."""


class SameName(Invalid):
    """Two of a secret's copies would coincide."""


HINT: Final = "Nothing of it is written. Narrow the pattern under each_field, or name the fields in a list"


def has_pattern(catalogue: Catalogue, path: str) -> bool:
    return any(isinstance(place, FieldPattern) for place in catalogue.destinations(path))


def patterns_of(catalogue: Catalogue, path: str) -> list[FieldPattern]:
    return [place for place in catalogue.destinations(path) if isinstance(place, FieldPattern)]


def plain_places(catalogue: Catalogue, path: str) -> tuple[Destination, ...]:
    return tuple(place for place in catalogue.destinations(path) if isinstance(place, Destination))


def all_places(catalogue: Catalogue, path: str, fields: Iterable[str]) -> tuple[Destination, ...]:
    """All possible places of a secret with these fields, for revocations. Never refuses a field."""
    names, places = list(fields), list(plain_places(catalogue, path))
    for pattern in patterns_of(catalogue, path):
        for field in pattern.chosen(names):
            try:
                places.append(pattern.of(field))
            except Unfit:
                continue  # it never had a copy
    return tuple(places)


def spread_patterns(catalogue: Catalogue, path: str, fields: Iterable[str]) -> tuple[Destination, ...]:
    """The places of a secret with these fields. Raises Invalid if there are too many or two would coincide."""
    names, places = list(fields), list(plain_places(catalogue, path))
    for pattern in patterns_of(catalogue, path):
        if (count := len(pattern.chosen(names))) > MOST_FIELDS:
            problem = f"{count} of its fields fit {pattern.place.each_field}, and {MOST_FIELDS} get a copy at most"
            raise Invalid("push", path, problem, HINT)
        try:
            places += pattern.spread(names)
        except Unfit as error:
            raise Invalid("push", path, str(error), HINT) from None
    _insist_on_apart(catalogue, path, places)
    return tuple(places)


def _insist_on_apart(catalogue: Catalogue, path: str, places: Iterable[Destination]) -> None:
    taken: dict[object, Destination] = {}
    for place in places:
        store = catalogue.store(place.store)
        first = taken.setdefault((store.system, store.limits.same(place.name)), place)
        if first is not place and (first.of_pattern or place.of_pattern):
            problem = f"{_words(first)} and {_words(place)} would both be called {place.label}"
            raise SameName("push", path, problem, HINT)


def _words(place: Destination) -> str:
    return f"the field {place.field}" if place.field else "another of its copies"
