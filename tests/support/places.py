"""Where copies go, for tests whose secrets have no pattern of fields' names."""

from collections.abc import Iterable

from keyturn.catalogue.destinations import DeclaredPlace, Destination


def single(places: Iterable[DeclaredPlace]) -> list[Destination]:
    """These, each of which is one copy."""
    made = [place for place in places if isinstance(place, Destination)]
    assert len(made) == len([*places])
    return made
