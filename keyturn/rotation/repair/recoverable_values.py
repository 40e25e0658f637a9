"""The values that can be recovered into the hub from it and the copies, and which of them log in."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import KeyturnError, TerminalError
from keyturn.core.fingerprint import vouches
from keyturn.core.lineage import KnownVersion
from keyturn.core.ports.hub import HubSecret, SecretInfo
from keyturn.core.ports.stores import OwnershipTags, Unsupported
from keyturn.core.rotation_record import Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.references import Unfit
from keyturn.rotation.copies.lineage_check import ledger_versions, lost_end
from keyturn.rotation.copies.push import ours
from keyturn.rotation.repair.suspect_versions import doubt
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record, without_lost

HUB: Final = "the hub"
RECORD: Final = "the open rotation"
"""The place of a candidate that its target may have accepted."""
STAGED: Final = frozenset((Stage.PENDING, Stage.ABANDONING))
"""The stages whose candidate may be the only value that logs in."""


@dataclass(frozen=True)
class Value:
    """One value of a secret and its holder. ``lives`` is the result of a login, None if unknown.

    ``bare``: the credential alone, because nothing holds the other fields.
    """

    place: str
    version: int
    created_at: datetime | None
    fields: SecretFields = field(repr=False)
    fingerprint: str
    tried: bool = False
    lives: bool | None = None
    bare: bool = False

    @property
    def order(self) -> tuple[float, int, bool]:
        """Sort key: the newest is the greatest, by the hub's clock; marks without a time sort first."""
        return self.created_at.timestamp() if self.created_at else 0.0, self.version, self.place == HUB


@dataclass(frozen=True)
class Useless:
    """A place whose copy can't be recovered, and why."""

    place: str
    why: str


@dataclass(frozen=True)
class HeldValues:
    """All values of a secret, the newest first, each once. ``newest_known`` is the greatest version.

    ``lost_end`` is a revocation of the served value that the hub has lost. ``doubt`` is the reason to doubt CURRENT in
    a restored hub. ``absent`` lists declared copies that do not exist.
    """

    path: str
    current: HubSecret | None
    hub_version: int
    found: tuple[Value, ...]
    useless: tuple[Useless, ...]
    newest_known: int
    lost_end: KnownVersion | None = None
    doubt: KnownVersion | None = None
    absent: tuple[str, ...] = ()

    @property
    def living(self) -> Value | None:
        """The newest that logs in."""
        return next((value for value in self.found if value.lives), None)

    @property
    def untried(self) -> Value | None:
        """The newest whose login has no known result."""
        return next((value for value in self.found if value.tried and value.lives is None), None)


def values(workspace: Workspace, path: str) -> HeldValues:
    """Collect and test the values, from the newest, until one logs in. Writes nothing.

    Raises NotFound for an undeclared secret, and the errors of the hub and the target.
    """
    if not workspace.catalogue.destinations(path):
        workspace.secret(path)
    current, info = workspace.hub.read(path), workspace.hub.describe(path)
    places = all_places(workspace.catalogue, path, current.fields if current else ())
    looked = side_by_side(lambda place: held_value(workspace, path, place, current), places)
    held_by_hub = [of_hub(workspace, current)] if current else []
    in_copies = [value for value in looked if isinstance(value, Value)]
    staged = [] if current else list(of_record(workspace, path, info, in_copies))
    candidates = sorted([*held_by_hub, *in_copies, *staged], key=lambda value: value.order)
    useless = tuple(value for value in looked if isinstance(value, Useless))
    ledger_version = ledger_versions(workspace, [path]).of.get(path)
    numbers = [value.version for value in candidates] + ([ledger_version.version] if ledger_version else [])
    tried = tuple(try_in_turn(workspace, path, each_once(reversed(candidates), held_by_hub)))
    version, newest = info.version if info else 0, max(numbers, default=0)
    return HeldValues(
        path,
        current,
        version,
        tried,
        useless,
        newest,
        lost_end(workspace, path, ledger_version),
        doubt(workspace, path),
        tuple(place.label for place, value in zip(places, looked, strict=True) if value is None),
    )


def of_hub(workspace: Workspace, current: HubSecret) -> Value:
    """CURRENT as a value."""
    return Value(
        HUB, current.version, current.made_at, current.fields, workspace.fingerprint(current.path, current.fields)
    )


def of_record(workspace: Workspace, path: str, info: SecretInfo | None, in_copies: Sequence[Value]) -> Iterator[Value]:
    """The candidate of an open rotation, with the newest other fields available.

    Where CURRENT is gone and the account has one password, only it logs in.
    """
    record = without_lost(load_record(workspace, path))
    if record.rotation is None or record.rotation.stage not in STAGED or record.candidate is None:
        return
    newest = max(in_copies, key=lambda value: value.order, default=None)
    base = readable_fields(workspace, path, info) or (newest.fields if newest else record.rest)
    fields = (base or SecretFields({})).merged(record.candidate)
    digest = workspace.fingerprint(path, fields)
    yield Value(RECORD, 0, record.rotation.opened_at, fields, digest, bare=base is None)


def readable_fields(workspace: Workspace, path: str, info: SecretInfo | None) -> SecretFields | None:
    """The fields of the newest readable version; None for none."""
    for version in reversed(info.versions if info else ()):
        if version.readable and (secret := workspace.hub.read(path, version.version)):
            return secret.fields
    return None


def held_value(
    workspace: Workspace, path: str, place: Destination, current: HubSecret | None
) -> Value | Useless | None:
    """The value of the copy at one place; None where there is none."""
    store = workspace.open_copy(path, place)
    try:
        copy = store.describe(place.name)
        marks = copy.marks if copy else None
        if copy is None:
            return None
        if marks is None or marks.source != path or not ours(workspace, marks):
            return Useless(place.label, "it is not this secret's copy")
        if Unsupported.READ in store.unsupported:
            return Useless(place.label, "its store gives no value back")
        return value_of(workspace, path, place, marks, current)
    except KeyturnError as error:
        return Useless(place.label, str(error))


def value_of(
    workspace: Workspace, path: str, place: Destination, marks: OwnershipTags, current: HubSecret | None
) -> Value | Useless:
    """The secret's fields from a copy, where it is complete and unchanged."""
    text = workspace.open_copy(path, place).read(place.name)
    if not vouches(marks.fingerprint, workspace.fingerprint_of(path, text)):
        return Useless(place.label, "someone else changed it")
    if marks.shape.partition("-")[0] != place.shape.mark:
        return Useless(place.label, "it was made in another shape than the catalogue says now")
    try:
        parts = place.shape.invert(text)
    except Unfit as error:
        return Useless(place.label, str(error))
    if place.shape.fields and not (makes(workspace, path) and set(makes(workspace, path)) <= parts.keys()):
        return Useless(place.label, "it holds a part of the credential alone")
    if current and place.shape.fields:
        parts = {name: value for name, value in parts.items() if not inside_one(name, current.fields)}
    under = current.fields if current and place.shape.fields else SecretFields({})
    fields = under.merged(parts)
    return Value(place.label, marks.version, marks.created_at, fields, workspace.fingerprint(path, fields))


def inside_one(name: str, fields: SecretFields) -> bool:
    """Whether a name is a property of a field, which can't be merged over that field."""
    parts = name.split(".")
    return name not in fields and any(".".join(parts[:count]) in fields for count in range(1, len(parts)))


def makes(workspace: Workspace, path: str) -> Collection[str]:
    """The fields of the credential; none for a secret declared only by a pattern."""
    return workspace.open_strategy(path).credential_fields if path in workspace.catalogue.secrets else ()


def each_once(candidates: Iterator[Value], held_by_hub: Sequence[Value]) -> Iterator[Value]:
    """Each value once, under its first place; a value in the hub counts as the hub's."""
    fingerprints: set[str] = set()
    by_hub = {value.fingerprint: value for value in held_by_hub}
    for value in candidates:
        if value.fingerprint not in fingerprints:
            fingerprints.add(value.fingerprint)
            yield by_hub.get(value.fingerprint, value)


def try_in_turn(workspace: Workspace, path: str, candidates: Iterator[Value]) -> Iterator[Value]:
    """Each with its login result; those after the first success are not tried."""
    over = False
    for value in candidates:
        lives = None if over else alive(workspace, path, value.fields)
        yield replace(value, tried=not over, lives=lives)
        over = over or bool(lives)


def alive(workspace: Workspace, path: str, fields: SecretFields) -> bool | None:
    """Whether the target accepts this credential; None if unknown. Raises TransientError."""
    if path not in workspace.catalogue.secrets:
        return None
    try:
        return workspace.open_strategy(path).accepts(fields)
    except TerminalError:
        return None


def recovery_needed(workspace: Workspace, path: str, *, copy_ahead: bool = False) -> bool:
    """Whether a new value would replace one that has to be recovered first.

    That is a copy's value that logs in where CURRENT does not, or a newer one with an unknown result. ``copy_ahead``:
    a copy is ahead of the hub.
    """
    held = values(workspace, path)
    if held.living:
        return held.living.place != HUB
    return held.untried is not None and (copy_ahead or held.untried.place != HUB)
