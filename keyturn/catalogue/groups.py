"""Entries of ``stores`` for several stores, and their members."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn.catalogue.destinations import Destination, SyncSettings
from keyturn.settings.stores import StoreBase

Groups = Mapping[str, tuple[str, ...]]
"""The member stores of each group by its name; entries for single stores are absent."""


def spread_stores(declared: Mapping[str, StoreBase]) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    stores, groups = dict[str, Any](), dict[str, tuple[str, ...]]()
    for name, settings in declared.items():
        members = settings.members(name)
        stores |= members
        if list(members) != [name]:
            groups[name] = tuple(members)
    return stores, groups


def members(groups: Groups, store: str) -> tuple[str, ...]:
    return groups.get(store, (store,))


def spread_places(places: Iterable[Destination], groups: Groups) -> Iterator[Destination]:
    for place in places:
        if place.store in groups:
            yield from (place.model_copy(update={"store": store}) for store in groups[place.store])
        else:
            yield place


def spread_sync(sync: SyncSettings, groups: Groups) -> SyncSettings:
    if groups.keys().isdisjoint(sync.stores):
        return sync
    return sync.model_copy(
        update={"stores": tuple(member for store in sync.stores for member in members(groups, store))}
    )
