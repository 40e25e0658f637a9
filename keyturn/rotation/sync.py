"""Carrying CURRENT to every destination: what differs is written, what is in step is left alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keyturn.catalogue.models import Destination
from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound, NotOwned
from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.hub import HubSecret
from keyturn.core.names import illegal_name, too_large
from keyturn.core.stores import Copy, Marks
from keyturn.rotation.context import Keyturn

ROUNDS: Final = 3
"""How often a sync starts over because CURRENT moved on while it was at work."""


class CopyState(StrEnum):
    """What a push did, or found."""

    CREATED = "created"
    UPDATED = "updated"
    IN_STEP = "in step"
    STALE = "stale"
    FAILED = "failed"


@dataclass(frozen=True)
class Pushed:
    """One destination after a push, in names only. ``error`` is empty unless it failed."""

    store: str
    name: str
    state: CopyState
    version: int
    fingerprint: str
    error: str = ""

    @property
    def in_step(self) -> bool:
        """Whether the destination serves CURRENT."""
        return self.state in (CopyState.CREATED, CopyState.UPDATED, CopyState.IN_STEP)


def sync(keyturn: Keyturn, path: str) -> list[Pushed]:
    """Bring every destination to CURRENT, each on its own: one that fails never stops another.

    Starts over when CURRENT moves on meanwhile, so a slow run can't leave an older value behind.
    """
    for _ in range(ROUNDS):
        pushed = push_all(keyturn, path)
        info = keyturn.hub.describe(path)
        if info is None or all(p.version == info.version for p in pushed if p.in_step):
            break
    return pushed


def push_all(keyturn: Keyturn, path: str) -> list[Pushed]:
    """One round over the destinations, side by side."""
    destinations = keyturn.secret(path).destinations
    if not destinations:
        return []
    with ThreadPoolExecutor(len(destinations)) as pool:
        return list(pool.map(lambda destination: push(keyturn, path, destination), destinations))


def push(keyturn: Keyturn, path: str, destination: Destination) -> Pushed:
    """Bring one destination to CURRENT; an error is part of the answer, not raised."""
    try:
        return converge(keyturn, path, destination, apply=True)
    except KeyturnError as error:
        return Pushed(destination.store, destination.name, CopyState.FAILED, 0, "", str(error))


def look(keyturn: Keyturn, path: str, destination: Destination) -> Pushed:
    """Where one destination stands, without writing."""
    try:
        return converge(keyturn, path, destination, apply=False)
    except KeyturnError as error:
        return Pushed(destination.store, destination.name, CopyState.FAILED, 0, "", str(error))


def converge(keyturn: Keyturn, path: str, destination: Destination, *, apply: bool) -> Pushed:
    """Compare by marks, and write where they differ. Raises what stands in the way."""
    current = keyturn.hub.read(path)
    if current is None:
        raise NotFound("push", path, "the hub has no version of it", "Rotate it once, or write its first version")
    marks = Marks(path, current.version, keyturn.fingerprint(current.fields))
    found = keyturn.open_store(destination.store).find(destination.name)
    check_owned(destination, found, path)
    if found and found.intact and found.marks and found.marks.fingerprint == marks.fingerprint:
        return pushed(destination, CopyState.IN_STEP, marks)
    if not apply:
        return pushed(destination, CopyState.STALE, marks)
    return write(keyturn, current, destination, marks, found)


def check_owned(destination: Destination, found: Copy | None, path: str) -> None:
    """Never overwrite what somebody else keeps there, unless the catalogue says so."""
    if found is None or destination.adopt:
        return
    name = f"{destination.store}:{destination.name}"
    if found.marks is None:
        hint = "Say `adopt: true` on the destination to take it over, or choose another name"
        raise NotOwned("push to", name, "a secret of that name exists and Keyturn has not made it", hint)
    if found.marks.source != path:
        raise NotOwned(
            "push to", name, f"it is the copy of {found.marks.source}", "Choose another name, or `adopt: true`"
        )


def write(keyturn: Keyturn, current: HubSecret, destination: Destination, marks: Marks, found: Copy | None) -> Pushed:
    """Give the destination the new value, and read it back."""
    store, value = keyturn.open_store(destination.store), payload(current.fields)
    kind = keyturn.catalogue.store(destination.store).kind
    name = f"{destination.store}:{destination.name}"
    if flaw := illegal_name(kind, destination.name) or too_large(kind, len(value.reveal().encode())):
        raise Invalid("push to", name, flaw, "Change the name or the value; nothing was written")
    store.write(destination.name, value, marks, found)
    if fingerprint(keyturn.hub.fingerprint_key(), store.read(destination.name)) != marks.fingerprint:
        raise Conflict("read back", name, "it serves another value than was written", "See who else writes there")
    return pushed(destination, CopyState.UPDATED if found else CopyState.CREATED, marks)


def pushed(destination: Destination, state: CopyState, marks: Marks) -> Pushed:
    """The outcome of a push, in names."""
    return Pushed(destination.store, destination.name, state, marks.version, marks.fingerprint)
