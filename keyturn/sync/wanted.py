"""The copies that the catalogue wants, and their plan items."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import KeyturnError
from keyturn.core.plan import Action, Item
from keyturn.core.ports.stores import RemoteSecret
from keyturn.core.store_limits import Limits
from keyturn.rotation.state.context import Workspace
from keyturn.settings.stores import System


@dataclass(frozen=True, slots=True)
class Wanted:
    """A wanted copy. ``rival`` is another secret for the same place."""

    path: str
    place: Destination
    rival: str = ""


def wants(workspace: Workspace, places: Mapping[str, Iterable[Destination]]) -> Iterator[Wanted]:
    """Every wanted copy of these secrets, with rivals for the same place.

    Copies from patterns come last, so that new fields take no declared place.
    """
    claimed: dict[Hashable, str] = {}

    @cache
    def store(name: str) -> tuple[System, Limits]:
        settings = workspace.catalogue.store(name)
        return settings.system, settings.limits

    pairs = [(path, place) for path, several in places.items() for place in several]
    for path, place in sorted(pairs, key=lambda pair: pair[1].of_pattern):
        system, limits = store(place.store)
        spot = (system, limits.same(place.name))
        rivals = (other for key in barred(spot, path, place) if (other := claimed.get(key)))
        yield Wanted(path, place, next(rivals, ""))
        for key in claims_of(spot, path, place):
            claimed.setdefault(key, path)


def claims_of(spot: Hashable, path: str, place: Destination) -> list[Hashable]:
    """What a copy claims: the whole place, or each field."""
    return [(spot, "merged"), (spot, path), *((spot, "", key) for key in place.keys)] if place.merge else [(spot, "")]


def barred(spot: Hashable, path: str, place: Destination) -> list[Hashable]:
    """The claims that exclude a copy: any for a whole one, else whole or same fields."""
    keys = [(spot, path), *((spot, "", key) for key in place.keys)] if place.merge else [(spot, "merged")]
    return [(spot, ""), *keys]


def uncompared_item(want: Wanted, version: int, copy: RemoteSecret | None) -> Item:
    """The item for a copy that marks don't decide and this login may not read."""
    return item_of(want, Action.NOT_COMPARED, version, copy, "not compared with this login, which may not read values")


def unknown_item(want: Wanted, version: int, error: KeyturnError) -> Item:
    """The item for a copy in an unknown state."""
    place, kind = want.place, type(error).__name__
    return Item(
        Action.BLOCKED, want.path, place.store, place.name, version, why=str(error), kind=kind, merged=place.merge
    )


def item_of(want: Wanted, action: Action, version: int, copy: RemoteSecret | None, why: str = "") -> Item:
    """An item for one copy as it was found."""
    holds = copy.marks.version if copy and copy.marks else 0
    place, version_id = want.place, copy.version_id if copy else ""
    return Item(action, want.path, place.store, place.name, version, holds, version_id, why=why, merged=place.merge)
