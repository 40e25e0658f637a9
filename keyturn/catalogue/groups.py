"""Entries of ``stores`` that stand for several stores: which ones, and where they are named, each of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn.catalogue.destinations import Destination, SyncSettings
from keyturn.settings.stores import StoreBase

Groups = Mapping[str, tuple[str, ...]]
"""The names of the stores that an entry stands for, by its own; entries that stand for themselves are not in it."""


def spread_stores(declared: Mapping[str, StoreBase]) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Every store by its name, and which of them an entry has brought that stands for several."""
    stores, groups = dict[str, Any](), dict[str, tuple[str, ...]]()
    for name, settings in declared.items():
        members = settings.members(name)
        stores |= members
        if list(members) != [name]:
            groups[name] = tuple(members)
    return stores, groups


def members(groups: Groups, store: str) -> tuple[str, ...]:
    """The stores that a name stands for: itself, unless it is a group's."""
    return groups.get(store, (store,))


def spread_places(places: Iterable[Destination], groups: Groups) -> Iterator[Destination]:
    """The same places, those in a group once in each of its stores."""
    for place in places:
        if place.store in groups:
            yield from (place.model_copy(update={"store": store}) for store in groups[place.store])
        else:
            yield place


def spread_sync(sync: SyncSettings, groups: Groups) -> SyncSettings:
    """The same sync, which names every store by itself."""
    if groups.keys().isdisjoint(sync.stores):
        return sync
    return sync.model_copy(
        update={"stores": tuple(member for store in sync.stores for member in members(groups, store))}
    )
