"""Metadata of copies: requested values, and reasons why a store or a rotation refuses them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from keyturn.catalogue.checks.plain_data import at, describe_secret, destinations, duration
from keyturn.catalogue.checks.times import Turn
from keyturn.catalogue.checks.world import World
from keyturn.catalogue.destinations import KEYS_BESIDE, Copying, Destination
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.catalogue.groups import members
from keyturn.catalogue.stores import StoreSettings
from keyturn.core.ports.stores import NO_DETAILS, Details
from keyturn.settings.durations import show

SOME_DAY: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""A placeholder for an expiry that depends on the hub's version."""

REMEDY: Final = "Write what the store takes, or leave it out."
LENGTHEN: Final = "Lengthen it: a punctual secret would be shown as expired."


def asks(place: Copying, store: StoreSettings) -> bool:
    """Whether the catalogue requests metadata for the copy; never for a merged one, which others own."""
    return not place.merge and bool(store.tags or says(place))


def says(place: Copying) -> bool:
    """Whether the destination or sync itself requests metadata. Spelled out by key because it runs for every copy."""
    anything = place.tags or place.annotations or place.description or place.content_type or place.expires_after
    return bool(anything)


def details(
    place: Copying, store: StoreSettings, made_at: datetime | None = None, ends_at: datetime | None = None
) -> Details:
    """The metadata of a copy whose hub version was made at ``made_at`` and ends at ``ends_at``.

    The expiry shown is the earlier of ``ends_at`` and ``made_at`` plus ``expires_after``.
    """
    expires_at = None if place.merge else expiry(place, made_at, ends_at)
    if not asks(place, store):
        return Details(expires_at=expires_at) if expires_at else NO_DETAILS
    tags = {**store.tags, **place.tags}
    return Details(tags, place.annotations, place.description or "", place.content_type or "", expires_at)


def expiry(place: Copying, made_at: datetime | None, ends_at: datetime | None) -> datetime | None:
    over = made_at + place.expires_after if place.expires_after and made_at else None
    return min((moment for moment in (over, ends_at) if moment), default=None)


def taken_by_their_stores(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    for index, name, _ in destinations(entry):
        store, place = (
            world.stores.get(members(world.groups, name)[0]),
            _place(at(entry.data, ("destinations",))[index]),
        )
        if store and place and (refusal := refuse_details(place, store)):
            yield entry.problem(("destinations", index, *key(place)), f"the store {name} refuses it: {refusal}", REMEDY)


def expiring_after_the_rotation(entry: CatalogueEntry, world: World) -> Iterator[Problem]:
    turn = Turn.of(entry)
    if turn is None:
        return
    more = [(name, time) for name in ("jitter", "grace") if (time := duration(entry, name))]
    least = turn.longest + sum((time for _, time in more), timedelta(0))
    together = ", ".join([turn.name, *(name for name, _ in more[:-1])]) + "".join(
        f" and {name}" for name, _ in more[-1:]
    )
    for path, place, whose in _expiring(entry, world):
        if place.expires_after and place.expires_after < least:
            message = f"expires_after ({show(place.expires_after)}){whose} is shorter than {together} ({show(least)})"
            yield entry.problem(path, message, LENGTHEN)


def refuse_details(place: Copying, store: StoreSettings) -> str | None:
    """The reason why the store refuses the requested metadata; None if nothing is requested."""
    return store.refuses_details(details(place, store, SOME_DAY)) if says(place) else None


def refuses_own(store: StoreSettings) -> str | None:
    return store.refuses_details(Details(store.tags)) if store.tags else None


def key(place: Copying) -> KeyPath:
    keys = [key for key in KEYS_BESIDE if getattr(place, key)]
    return (keys[0],) if len(keys) == 1 else ()


def _expiring(entry: CatalogueEntry, world: World) -> Iterator[tuple[KeyPath, Copying, str]]:
    for index, _, _ in destinations(entry):
        if place := _place(at(entry.data, ("destinations",))[index]):
            yield ("destinations", index, "expires_after"), place, ""
    for name, sync in world.syncs.items():
        if sync.expires_after and sync.covers(entry.name, describe_secret(entry)):
            yield ("rotation",), sync, f" of the sync {name}"


def _place(data: Any) -> Destination | None:
    """The destination if it requests metadata; None for a broken one, which is reported elsewhere."""
    if not isinstance(data, dict) or not data.keys() & set(KEYS_BESIDE):
        return None
    try:
        return Destination.model_validate(data)
    except ValidationError:
        return None


CHECKS: Final = (taken_by_their_stores, expiring_after_the_rotation)
