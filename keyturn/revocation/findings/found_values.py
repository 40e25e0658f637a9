"""Whose the values are that somebody has found: each side is hashed at once, under a key that this process forgets.

So neither the values that were found nor those of the hub are kept beside each other, and a thousand findings cost one
look at each secret.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import Invalid, TerminalError
from keyturn.core.fingerprint import payload
from keyturn.core.ports.hub import HubSecret
from keyturn.core.record import IN_FORCE, Record
from keyturn.core.sensitive import Sensitive
from keyturn.revocation.findings.scanner import FoundAt, FoundValue
from keyturn.revocation.selector import AT_ONCE
from keyturn.revocation.sight import read_versions
from keyturn.rotation.copies.push import text_of
from keyturn.rotation.secret_fields import SHORTEST, secret_fields
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.records import load_record


class State(StrEnum):
    """Whether a value works still, as far as Keyturn knows."""

    IN_FORCE = "in force"
    IN_GRACE = "in its grace"
    """Another one serves, and this one waits for its end."""
    REPLACED = "replaced"
    """Another one serves; whether this one was ended nobody knows, since no target tells."""
    RETIRED = "retired"
    """It was ended at its target."""
    NAME = "no secret by itself"
    """An account, a key's id, or an address."""

    @property
    def works(self) -> bool:
        """Whether a revocation has something to end."""
        return self in (State.IN_FORCE, State.IN_GRACE)


@dataclass(frozen=True, order=True)
class Owner:
    """What has the value: a version of a secret, and ``part`` of it: a field, ``store:name``, or all of it if empty."""

    path: str
    version: int
    part: str
    state: State

    @property
    def weight(self) -> tuple[int, int, str]:
        """How much it matters."""
        return -list(State).index(self.state), self.version, self.part


@dataclass(frozen=True)
class Unlooked:
    """A secret, or a version of one, that nobody could look at; ``version`` is 0 for all of it.

    ``may_work`` says that its credential may be honoured, as far as anybody knows.
    """

    path: str
    version: int
    why: str
    may_work: bool = True


@dataclass
class Leaks:
    """Every owner of a found value with the places, and the places of what nobody here has."""

    known: dict[Owner, list[FoundAt]] = field(default_factory=dict)
    unknown: list[FoundAt] = field(default_factory=list)

    @property
    def working(self) -> tuple[str, ...]:
        """The secrets of which something that was found works still."""
        return tuple(sorted({owner.path for owner in self.known if owner.state.works}))


class ValueIndex:
    """Texts by their hash under a key that lives as long as this."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._owners: dict[bytes, set[Owner]] = {}

    def add(self, text: Sensitive, owner: Owner) -> None:
        """Note whose it is."""
        plain = text.reveal()
        if len(plain) >= SHORTEST:
            self._owners.setdefault(self._digest(plain), set()).add(owner)

    def owners(self, texts: Iterable[Sensitive]) -> set[Owner]:
        """Whose any of them is: of each secret what matters most, which is what works still, and then the newest."""
        best: dict[str, Owner] = {}
        for text in texts:
            for owner in self._owners.get(self._digest(text.reveal()), ()):
                if owner.path not in best or owner.weight > best[owner.path].weight:
                    best[owner.path] = owner
        return set(best.values())

    def _digest(self, plain: str) -> bytes:
        return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()


def index_values(workspace: Workspace) -> tuple[ValueIndex, list[Unlooked]]:
    """Every value of the catalogue's secrets that the hub still gives, and what could not be looked at.

    Raises TransientError where the hub does not answer.
    """
    index = ValueIndex()

    def look(path: str) -> list[Unlooked]:
        try:
            return list(add_secret(workspace, path, index))
        except TerminalError as error:
            return [Unlooked(path, 0, error.problem)]

    return index, [gap for gaps in side_by_side(look, sorted(workspace.catalogue.secrets), AT_ONCE) for gap in gaps]


def add_secret(workspace: Workspace, path: str, index: ValueIndex) -> Iterator[Unlooked]:
    """All versions of one secret; what of it could not be looked at."""
    sight, record = read_versions(workspace, path), load_record(workspace, path)

    def state(version: int) -> State:
        return state_of_version(workspace, record, path, version, sight.last)

    yield from (Unlooked(path, unseen.version, unseen.why, state(unseen.version).works) for unseen in sight.unseen)
    for version in sight.versions:
        add_version(workspace, version, state(version.version), index)


def add_version(workspace: Workspace, secret: HubSecret, state: State, index: ValueIndex) -> None:
    """One version: each field, all of it as one text, and what its copies hold."""
    path, version = secret.path, secret.version
    secrets = secret_fields(workspace, secret)
    for name, text in secret.fields.items():
        index.add(text, Owner(path, version, name, state if name in secrets else State.NAME))
    index.add(payload(secret.fields), Owner(path, version, "", state))
    fields = {text.reveal() for text in secret.fields.values()}
    for place in all_places(workspace.catalogue, path, secret.fields):
        with suppress(Invalid):  # a copy that can't be made of this version was never made of it
            if (text := text_of(secret, place)).reveal() not in fields:
                index.add(text, Owner(path, version, place.label, state))


def state_of_version(workspace: Workspace, record: Record, path: str, version: int, newest: int) -> State:
    """Whether a version's credential works still."""
    if version == newest:
        return State.IN_FORCE
    rotation = record.rotation
    if rotation and rotation.stage in IN_FORCE and rotation.base_version == version:
        return State.IN_GRACE
    return State.RETIRED if workspace.target(path) else State.REPLACED


def match_findings(index: ValueIndex, findings: Iterable[FoundValue]) -> Leaks:
    """Whose each of them is. A value is let go once it was looked up."""
    leaks = Leaks()
    for finding in findings:
        owners = index.owners(finding.texts)
        for owner in owners:
            leaks.known.setdefault(owner, []).append(finding.at)
        if not owners:
            leaks.unknown.append(finding.at)
    return leaks
