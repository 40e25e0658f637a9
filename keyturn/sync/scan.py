"""What lies in the stores that the catalogue does not speak of: secrets of nobody's, and copies left over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyturn.catalogue.stores.base import System
from keyturn.core.errors import KeyturnError
from keyturn.core.stores import Copy
from keyturn.rotation.context import Keyturn, side_by_side
from keyturn.sync import observe
from keyturn.sync.planning import known


@dataclass(frozen=True)
class Undeclared:
    """A copy with Keyturn's marks that nothing declares: its name, and the secret it was made of."""

    name: str
    source: str
    version: int


@dataclass(frozen=True)
class StoreScan:
    """One store, in names only. ``error`` and its class ``kind`` are empty unless it could not be read."""

    store: str
    unmanaged: tuple[str, ...] = ()
    undeclared: tuple[Undeclared, ...] = ()
    error: str = ""
    kind: str = ""


def scan(keyturn: Keyturn, stores: Sequence[str] = ()) -> list[StoreScan]:
    """What nobody manages in these stores, or in all. A store that can't be read has its error, and stops no other.

    Raises NotFound for a store that the catalogue does not declare. Nothing is written, and no value is read.
    """
    chosen = sorted({*stores}) or sorted(keyturn.catalogue.stores)
    for name in chosen:
        keyturn.catalogue.store(name)
    declared = places(keyturn)
    return side_by_side(lambda store: one_store(keyturn, store, declared), chosen)


def places(keyturn: Keyturn) -> Mapping[System, frozenset[str]]:
    """Every name that the catalogue pushes to, by system: two of its stores may be the same one."""
    paths = known(keyturn, observe.hub_secrets(keyturn, None))
    found: dict[System, set[str]] = {}
    for place in (place for path in paths for place in keyturn.catalogue.destinations(path)):
        store = keyturn.catalogue.store(place.store)
        found.setdefault(store.system, set()).add(store.limits.same(place.name))
    return {system: frozenset(names) for system, names in found.items()}


def one_store(keyturn: Keyturn, store: str, declared: Mapping[System, frozenset[str]]) -> StoreScan:
    """One store; an error is part of the answer."""
    try:
        others = undeclared(keyturn, store, declared)
    except KeyturnError as error:
        return StoreScan(store, error=str(error), kind=type(error).__name__)
    unmanaged = sorted(copy.name for copy in others if copy.marks is None)
    left = [Undeclared(copy.name, copy.marks.source, copy.marks.version) for copy in others if copy.marks]
    return StoreScan(store, tuple(unmanaged), tuple(sorted(left, key=lambda one: one.name)))


def undeclared(keyturn: Keyturn, store: str, declared: Mapping[System, frozenset[str]]) -> list[Copy]:
    """Everything in a store under names that the catalogue does not push to. Raises what the store says."""
    settings = keyturn.catalogue.store(store)
    mine = declared.get(settings.system, frozenset())
    return [copy for copy in keyturn.open_store(store).everything() if settings.limits.same(copy.name) not in mine]
