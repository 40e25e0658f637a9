"""Carrying CURRENT to every destination: what differs is written, what is in step is left alone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keyturn.catalogue.models import Destination
from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound, NotOwned
from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.hub import HubSecret
from keyturn.core.names import illegal_name, too_large
from keyturn.core.stores import Copy, Marks
from keyturn.rotation.context import Keyturn, side_by_side

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
    """Bring every destination to CURRENT, side by side: one that fails never stops another."""
    return side_by_side(lambda destination: push(keyturn, path, destination), keyturn.secret(path).destinations)


def push(keyturn: Keyturn, path: str, destination: Destination) -> Pushed:
    """Bring one destination to CURRENT; an error is part of the answer, not raised."""
    try:
        return converge(keyturn, path, destination)
    except KeyturnError as error:
        return failed(destination, error)


def look(keyturn: Keyturn, path: str, destination: Destination) -> Pushed:
    """Where one destination stands, without writing; an error is part of the answer."""
    try:
        return compare(keyturn, current(keyturn, path), destination)[0]
    except KeyturnError as error:
        return failed(destination, error)


def converge(keyturn: Keyturn, path: str, destination: Destination) -> Pushed:
    """Compare by marks, and write where they differ. Raises what stands in the way.

    Starts over when CURRENT moved on meanwhile, so a slow run can't leave an older value behind.
    """
    for _ in range(ROUNDS):
        wanted = current(keyturn, path)
        stands, found = compare(keyturn, wanted, destination)
        if stands.in_step:
            return stands
        written, serves = write(keyturn, wanted, destination, found), read_back(keyturn, wanted, destination)
        if current_version(keyturn, path) != wanted.version:
            continue  # what came too late here may have left older marks, even where the value is the newer one
        if not serves:
            problem = "it serves another value than was written"
            raise Conflict("read back", label(destination), problem, "See who else writes there")
        return written
    raise Conflict("push to", label(destination), "CURRENT keeps changing", "See who else writes the secret")


def current(keyturn: Keyturn, path: str) -> HubSecret:
    """CURRENT. Raises NotFound when there is none to push."""
    if secret := keyturn.hub.read(path):
        return secret
    raise NotFound("push", path, "the hub has no version of it", "Rotate it once, or write its first version")


def current_version(keyturn: Keyturn, path: str) -> int:
    """The number of CURRENT's version, told without reading its value."""
    info = keyturn.hub.describe(path)
    return info.version if info else 0


def compare(keyturn: Keyturn, wanted: HubSecret, destination: Destination) -> tuple[Pushed, Copy | None]:
    """Where the destination stands, told by its marks, and what was found there."""
    marks = marks_of(keyturn, wanted)
    found = keyturn.open_store(destination.store).find(destination.name)
    check_owned(destination, found, wanted.path)
    equal = found and found.intact and found.marks and found.marks.fingerprint == marks.fingerprint
    return outcome(destination, CopyState.IN_STEP if equal else CopyState.STALE, marks), found


def marks_of(keyturn: Keyturn, wanted: HubSecret) -> Marks:
    """The marks that a copy of this version carries."""
    return Marks(wanted.path, wanted.version, keyturn.fingerprint(wanted.fields))


def check_owned(destination: Destination, found: Copy | None, path: str) -> None:
    """Never overwrite what somebody else keeps there, unless the catalogue says so."""
    if found is None or destination.adopt:
        return
    name = label(destination)
    if found.marks is None:
        hint = "Say `adopt: true` on the destination to take it over, or choose another name"
        raise NotOwned("push to", name, "a secret of that name exists and Keyturn has not made it", hint)
    if found.marks.source != path:
        raise NotOwned(
            "push to", name, f"it is the copy of {found.marks.source}", "Choose another name, or `adopt: true`"
        )


def write(keyturn: Keyturn, wanted: HubSecret, destination: Destination, found: Copy | None) -> Pushed:
    """Give the destination the new value."""
    store, value, marks = keyturn.open_store(destination.store), payload(wanted.fields), marks_of(keyturn, wanted)
    kind = keyturn.catalogue.store(destination.store).kind
    if flaw := illegal_name(kind, destination.name) or too_large(kind, len(value.reveal().encode())):
        raise Invalid("push to", label(destination), flaw, "Change the name or the value; nothing was written")
    store.write(destination.name, value, marks, found)
    return outcome(destination, CopyState.UPDATED if found else CopyState.CREATED, marks)


def read_back(keyturn: Keyturn, wanted: HubSecret, destination: Destination) -> bool:
    """Whether the destination serves this version's value."""
    served = keyturn.open_store(destination.store).read(destination.name)
    return fingerprint(keyturn.hub.fingerprint_key(), served) == keyturn.fingerprint(wanted.fields)


def outcome(destination: Destination, state: CopyState, marks: Marks) -> Pushed:
    """What became of a destination, in names."""
    return Pushed(destination.store, destination.name, state, marks.version, marks.fingerprint)


def failed(destination: Destination, error: KeyturnError) -> Pushed:
    """A destination that could not be reached or written."""
    return Pushed(destination.store, destination.name, CopyState.FAILED, 0, "", str(error))


def label(destination: Destination) -> str:
    """How errors name a destination."""
    return f"{destination.store}:{destination.name}"
