"""The owners of found values; both sides are hashed at once, under a key of this process only.

Any number of findings reads each secret once.
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
from keyturn.core.rotation_record import IN_FORCE, Record
from keyturn.core.sensitive import Sensitive
from keyturn.revocation.findings.scanner import FoundAt, FoundValue
from keyturn.revocation.readable_versions import read_versions
from keyturn.revocation.whois import AT_ONCE
from keyturn.rotation.copies.push import text_of
from keyturn.rotation.secret_fields import SHORTEST, secret_fields
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record


class State(StrEnum):
    """Whether a value still works, as far as Keyturn knows."""

    IN_FORCE = "in force"
    IN_GRACE = "in its grace"
    """Another value serves, and this one waits for its end."""
    REPLACED = "replaced"
    """Another value serves; no target reports whether this one has ended."""
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
    """A version with the value; ``part`` is a field, ``store:name``, or empty for the whole."""

    path: str
    version: int
    part: str
    state: State

    @property
    def weight(self) -> tuple[int, int, str]:
        """The sort key for importance."""
        return -list(State).index(self.state), self.version, self.part


@dataclass(frozen=True)
class Unlooked:
    """An unreadable version, or the whole secret where ``version`` is 0.

    ``may_work`` means that its credential may still be valid.
    """

    path: str
    version: int
    why: str
    may_work: bool = True


@dataclass
class Leaks:
    """The places of each owner's found values, and of values without an owner."""

    known: dict[Owner, list[FoundAt]] = field(default_factory=dict)
    unknown: list[FoundAt] = field(default_factory=list)

    @property
    def working(self) -> tuple[str, ...]:
        """The secrets with a found value that still works."""
        return tuple(sorted({owner.path for owner in self.known if owner.state.works}))


class ValueIndex:
    """Owners by the hash of their values, under a key of this object only."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._owners: dict[bytes, set[Owner]] = {}

    def add(self, text: Sensitive, owner: Owner) -> None:
        """Add an owner of a text."""
        plain = text.reveal()
        if len(plain) >= SHORTEST:
            self._owners.setdefault(self._digest(plain), set()).add(owner)

    def owners(self, texts: Iterable[Sensitive]) -> set[Owner]:
        """The owners of these texts; of each secret a working part first, then the newest."""
        best: dict[str, Owner] = {}
        for text in texts:
            for owner in self._owners.get(self._digest(text.reveal()), ()):
                if owner.path not in best or owner.weight > best[owner.path].weight:
                    best[owner.path] = owner
        return set(best.values())

    def _digest(self, plain: str) -> bytes:
        return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()


def index_values(workspace: Workspace) -> tuple[ValueIndex, list[Unlooked]]:
    """Index all values that the hub still gives, and return what could not be read.

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
    """Index all versions of one secret, and yield the unreadable ones."""
    sight, record = read_versions(workspace, path), load_record(workspace, path)

    def state(version: int) -> State:
        return state_of_version(workspace, record, path, version, sight.last)

    yield from (Unlooked(path, unseen.version, unseen.why, state(unseen.version).works) for unseen in sight.unseen)
    for version in sight.versions:
        add_version(workspace, version, state(version.version), index)


def add_version(workspace: Workspace, secret: HubSecret, state: State, index: ValueIndex) -> None:
    """Index one version: each field, the whole, and each copy's text."""
    path, version = secret.path, secret.version
    secrets = secret_fields(workspace, secret)
    for name, text in secret.fields.items():
        index.add(text, Owner(path, version, name, state if name in secrets else State.NAME))
    index.add(payload(secret.fields), Owner(path, version, "", state))
    fields = {text.reveal() for text in secret.fields.values()}
    for place in all_places(workspace.catalogue, path, secret.fields):
        with suppress(Invalid):  # a copy that can't be made of this version never existed
            if (text := text_of(secret, place)).reveal() not in fields:
                index.add(text, Owner(path, version, place.label, state))


def state_of_version(workspace: Workspace, record: Record, path: str, version: int, newest: int) -> State:
    """Whether a version's credential still works."""
    if version == newest:
        return State.IN_FORCE
    rotation = record.rotation
    if rotation and rotation.stage in IN_FORCE and rotation.base_version == version:
        return State.IN_GRACE
    return State.RETIRED if workspace.target(path) else State.REPLACED


def match_findings(index: ValueIndex, findings: Iterable[FoundValue]) -> Leaks:
    """Match findings with their owners; each value is dropped after its look-up."""
    leaks = Leaks()
    for finding in findings:
        owners = index.owners(finding.texts)
        for owner in owners:
            leaks.known.setdefault(owner, []).append(finding.at)
        if not owners:
            leaks.unknown.append(finding.at)
    return leaks
