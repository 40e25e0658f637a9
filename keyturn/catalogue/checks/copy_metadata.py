"""What is to stand beside a copy: what the catalogue asks for, and why a store or a rotation can't have it so."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from pydantic import ValidationError

from keyturn.catalogue.checks.plain_data import at, describe_secret, destinations, duration
from keyturn.catalogue.checks.times import Turn
from keyturn.catalogue.destinations import KEYS_BESIDE, Copying, Destination, SyncSettings
from keyturn.catalogue.files.problems import KeyPath, Problem
from keyturn.catalogue.files.source import CatalogueEntry
from keyturn.catalogue.groups import Groups, members
from keyturn.catalogue.stores import StoreSettings
from keyturn.core.ports.stores import NO_DETAILS, Details
from keyturn.settings.durations import show

SOME_DAY: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Stands for an expiry whose moment only a version of the hub tells."""

REMEDY: Final = "Write what the store takes, or leave it out."
LENGTHEN: Final = "Lengthen it: a punctual secret would be shown as expired."


class _World(Protocol):
    """The stores and patterns that could be read, and what stands for several stores."""

    @property
    def groups(self) -> Groups:
        """The groups."""

    @property
    def stores(self) -> Mapping[str, StoreSettings]:
        """The stores."""

    @property
    def syncs(self) -> Mapping[str, SyncSettings]:
        """The patterns."""


def asks(place: Copying, store: StoreSettings) -> bool:
    """Whether the catalogue asks for anything beside the copy: a secret that others own is theirs to label."""
    return not place.merge and bool(store.tags or says(place))


def says(place: Copying) -> bool:
    """Whether a destination or sync itself asks for anything. Told key by key: it is asked of every copy there is."""
    anything = place.tags or place.annotations or place.description or place.content_type or place.expires_after
    return bool(anything)


def details(
    place: Copying, store: StoreSettings, made_at: datetime | None = None, ends_at: datetime | None = None
) -> Details:
    """What is to stand beside a copy of a version that the hub made then, and that ends by itself then.

    It is shown to expire at the earlier of that end and of ``expires_after`` from when it was made.
    """
    expires_at = None if place.merge else expiry(place, made_at, ends_at)
    if not asks(place, store):
        return Details(expires_at=expires_at) if expires_at else NO_DETAILS
    tags = {**store.tags, **place.tags}
    return Details(tags, place.annotations, place.description or "", place.content_type or "", expires_at)


def expiry(place: Copying, made_at: datetime | None, ends_at: datetime | None) -> datetime | None:
    """When the copy is shown to expire; None for never."""
    over = made_at + place.expires_after if place.expires_after and made_at else None
    return min((moment for moment in (over, ends_at) if moment), default=None)


def taken_by_their_stores(entry: CatalogueEntry, world: _World) -> Iterator[Problem]:
    """Every store takes what a destination asks for beside its copies there."""
    for index, name, _ in destinations(entry):
        store, place = (
            world.stores.get(members(world.groups, name)[0]),
            _place(at(entry.data, ("destinations",))[index]),
        )
        if store and place and (refusal := refuse_details(place, store)):
            yield entry.problem(("destinations", index, *key(place)), f"the store {name} refuses it: {refusal}", REMEDY)


def expiring_after_the_rotation(entry: CatalogueEntry, world: _World) -> Iterator[Problem]:
    """No copy is shown as expired while its secret is rotated in time."""
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
    """Why a store can't have beside its copies what a destination or sync asks for; None where it asks for nothing."""
    return store.refuses_details(details(place, store, SOME_DAY)) if says(place) else None


def refuses_own(store: StoreSettings) -> str | None:
    """Why a store can't give its own tags to its copies."""
    return store.refuses_details(Details(store.tags)) if store.tags else None


def key(place: Copying) -> KeyPath:
    """The key meant, where a place asks for one thing alone."""
    keys = [key for key in KEYS_BESIDE if getattr(place, key)]
    return (keys[0],) if len(keys) == 1 else ()


def _expiring(entry: CatalogueEntry, world: _World) -> Iterator[tuple[KeyPath, Copying, str]]:
    for index, _, _ in destinations(entry):
        if place := _place(at(entry.data, ("destinations",))[index]):
            yield ("destinations", index, "expires_after"), place, ""
    for name, sync in world.syncs.items():
        if sync.expires_after and sync.covers(entry.name, describe_secret(entry)):
            yield ("rotation",), sync, f" of the sync {name}"


def _place(data: Any) -> Destination | None:
    """The destination, where it asks for anything; None also where it is broken, which is reported elsewhere."""
    if not isinstance(data, dict) or not data.keys() & set(KEYS_BESIDE):
        return None
    try:
        return Destination.model_validate(data)
    except ValidationError:
        return None


CHECKS: Final = (taken_by_their_stores, expiring_after_the_rotation)
