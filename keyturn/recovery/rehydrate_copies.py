"""The copies of each secret in the stores, what they yield, and whether they are trustworthy.

Marks name a copy's secret and version. Its fingerprint proves its value, and only the hub's key can make one. Without
the key, copies are only compared with each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from keyturn.catalogue.destinations import EACH, Destination, FieldPattern, Update
from keyturn.catalogue.spreading import patterns_of, plain_places
from keyturn.core.errors import KeyturnError
from keyturn.core.fingerprint import payload, vouches
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.mapping import WHOLE
from keyturn.core.text.references import Unfit
from keyturn.rotation.copies.push import UNCLAIMED, ours
from keyturn.rotation.state.agreements import partner_of
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.sync import observe
from keyturn.sync.observe import Holdings

AT_ONCE: Final = 16


class Standing(StrEnum):
    """What is known about one copy."""

    PROVEN = "proven"
    """Its fingerprint, by the hub's key, matches its marks."""
    NOT_PROVEN = "not proven"
    """Its marks name the secret, but without the key a change would go unnoticed."""
    CHANGED = "changed"
    """Its fingerprint differs: another party changed it, or another key made its marks."""
    USELESS = "useless"
    """It yields no fields, or is not this secret's."""
    UNSEEN = "unseen"
    """It could not be read, so it may be newer."""


@dataclass(frozen=True)
class SeenCopy:
    """One copy without its value. ``why`` is the obstacle."""

    place: str
    standing: Standing
    version: int = 0
    created_at: datetime | None = None
    why: str = ""

    @property
    def order(self) -> tuple[float, int]:
        """The sort key by age, by the hub's clock; unknown ages come first."""
        return self.created_at.timestamp() if self.created_at else 0.0, self.version


@dataclass(frozen=True)
class HeldCopy:
    """A copy with its text. ``parts`` are its fields, None where its shape can't be inverted."""

    seen: SeenCopy
    destination: Destination
    text: Sensitive = field(repr=False)
    parts: Mapping[str, Any] | None = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether the copy is the complete secret."""
        return self.parts is not None and not (self.destination.shape.fields or self.destination.shape.field)

    @property
    def lasting(self) -> bool:
        """Whether each version updates it."""
        return self.destination.update is not Update.CREATE_ONLY


@dataclass(frozen=True)
class Spot:
    """A place and its copy. ``error`` is why it could not be read."""

    destination: Destination
    copy: RemoteSecret | None
    error: KeyturnError | None = None


@dataclass(frozen=True)
class Found:
    """All places of all secrets.

    Copies also name ``undeclared`` secrets, which the catalogue does not push, and ``foreign`` ones of other
    catalogues. Neither is taken. ``unread`` is why a store could not be listed.
    """

    spots: Mapping[str, Sequence[Spot]]
    undeclared: tuple[str, ...]
    foreign: Mapping[str, str]
    unread: Mapping[str, KeyturnError]


def find_copies(workspace: Workspace) -> Found:
    """List every secret's places and the copies there."""
    stores = list(workspace.catalogue.stores)
    with observe.begun_listings(workspace, stores) as listings:
        sources = {name: listed_marks(listings[name]) for name in stores}
        marks = [marks for copies in sources.values() for marks in copies]
        named = {mark.source for mark in marks if believed_ours(workspace, mark)}
        foreign = {mark.source: mark.catalogue or "default" for mark in marks if mark.source not in named}
        pushed = {path for path in named if workspace.catalogue.destinations(path)}
        paths = sorted({*workspace.catalogue.secrets, *pushed})
        by_store: dict[str, observe.Placements] = {name: [] for name in stores}
        for path in paths:
            for place in plain_places(workspace.catalogue, path):
                by_store[place.store].append((path, place))
        holdings = observe.stores(workspace, by_store, listings, listed=True, deep=False)
    return Found(
        {path: tuple(spots_of(workspace, path, holdings)) for path in paths},
        tuple(sorted(named - set(paths))),
        {path: catalogue for path, catalogue in foreign.items() if path not in workspace.catalogue.secrets},
        {name: held.error for name, held in holdings.items() if held.error},
    )


def believed_ours(workspace: Workspace, marks: OwnershipTags) -> bool:
    """Whether this catalogue made the copy. Without a catalogue id it must declare the secret."""
    declared = marks.source in workspace.catalogue.secrets or workspace.catalogue.id in UNCLAIMED
    return ours(workspace, marks) and (declared or marks.catalogue not in UNCLAIMED)


def listed_marks(listing: Future[list[RemoteSecret]]) -> list[OwnershipTags]:
    """The marks in a store's listing; empty after an error, which is reported elsewhere."""
    try:
        return [copy.marks for copy in listing.result() if copy.marks]
    except Exception:  # noqa: BLE001  the same future is asked again where the store's error is kept
        return []


def spots_of(workspace: Workspace, path: str, holdings: Mapping[str, Holdings]) -> Iterator[Spot]:
    """The places of one secret, for field patterns those of existing copies."""
    for place in plain_places(workspace.catalogue, path):
        yield Spot(place, holdings[place.store].of(path, place), holdings[place.store].failure(path, place))
    for pattern in patterns_of(workspace.catalogue, path):
        held = holdings[pattern.store]
        if held.error:
            yield Spot(pattern.place, None, held.error)
        for copy in held.copies.values():
            if copy.marks and copy.marks.source == path and pattern.owns(copy.name):
                yield Spot(place_of_field(pattern, copy.name), copy)


def place_of_field(pattern: FieldPattern, name: str) -> Destination:
    """The place of a copy by a pattern; the pattern's place where the name hides the field."""
    before, _, after = pattern.place.name.partition(EACH)
    if pattern.place.case or EACH in after:
        return pattern.place.model_copy(update={"name": name})
    return pattern.of(name[len(before) : len(name) - len(after)])


def held_copies(
    workspace: Workspace, wanted: Mapping[str, Sequence[Spot]], keys: FingerprintKeys | None
) -> dict[str, list[SeenCopy | HeldCopy]]:
    """Each place's copy with its text, or why it is unusable."""
    wanted_texts: dict[str, dict[str, list[tuple[str, Spot]]]] = defaultdict(lambda: defaultdict(list))
    answers: dict[str, list[SeenCopy | HeldCopy]] = {path: [] for path in wanted}
    for path, spots in wanted.items():
        for spot in spots:
            if answer := without_value(workspace, path, spot):
                answers[path].append(answer)
            elif spot.copy and spot.destination.merge:
                answers[path].append(read_part(workspace, path, spot, keys))
            elif spot.copy:
                wanted_texts[spot.destination.store][spot.copy.name].append((path, spot))
    texts = side_by_side(lambda store: read_texts(workspace, store, list(wanted_texts[store])), wanted_texts)
    for store, held in zip(wanted_texts, texts, strict=True):
        for name, several in wanted_texts[store].items():
            for path, spot in several:
                answers[path].append(judge_copy(workspace, path, spot, held[name], keys))
    return answers


def without_value(workspace: Workspace, path: str, spot: Spot) -> SeenCopy | None:
    """The result where the marks show no readable value; else None."""
    label, copy = spot.destination.label, spot.copy
    if spot.error:
        return SeenCopy(label, Standing.UNSEEN, why=str(spot.error))
    if copy is None:
        return None
    marks = copy.marks
    if marks is None or marks.source != path:
        return SeenCopy(label, Standing.USELESS, why="it is not this secret's copy")
    if not believed_ours(workspace, marks):
        why = f"the catalogue {marks.catalogue or 'default'} has made it"
        return SeenCopy(label, Standing.USELESS, marks.version, marks.created_at, why)
    if Unsupported.READ in workspace.open_store(spot.destination.store).unsupported:
        why = "its store gives no value back"
        return SeenCopy(label, Standing.USELESS, marks.version, marks.created_at, why)
    return None


def read_texts(workspace: Workspace, store: str, names: Sequence[str]) -> dict[str, Sensitive | KeyturnError | None]:
    """The values in a store by name. An error affects only its name."""
    opened = workspace.open_store(store)
    try:
        texts = opened.read_many(names)
        return {name: texts.get(name) for name in names}
    except KeyturnError:
        pass  # one forbidden name fails the whole call, so each is read separately

    def read(name: str) -> Sensitive | KeyturnError:
        try:
            return opened.read(name)
        except KeyturnError as error:
            return error

    return dict(zip(names, side_by_side(read, names, AT_ONCE), strict=True))


def read_part(workspace: Workspace, path: str, spot: Spot, keys: FingerprintKeys | None) -> SeenCopy | HeldCopy:
    """The part of another owner's secret into which this one is merged."""
    try:
        text: Sensitive | KeyturnError = workspace.open_copy(path, spot.destination).read(spot.destination.name)
    except KeyturnError as error:
        text = error
    return judge_copy(workspace, path, spot, text, keys)


def judge_copy(
    workspace: Workspace, path: str, spot: Spot, text: Sensitive | KeyturnError | None, keys: FingerprintKeys | None
) -> SeenCopy | HeldCopy:
    """Whether a copy matches its marks, and which fields it yields."""
    copy, place = spot.copy, spot.destination
    marks = copy.marks if copy else None
    if copy is None or marks is None:
        return SeenCopy(place.label, Standing.USELESS, why="it is not this secret's copy")
    version = (marks.version, marks.created_at)
    if not isinstance(text, Sensitive):
        gone = "it is disabled, deleted or scheduled for deletion" if not copy.intact else "it gives no value"
        return SeenCopy(place.label, Standing.UNSEEN if text else Standing.USELESS, *version, str(text or gone))
    if keys is not None and not vouches(marks.fingerprint, keys.make(path, text)):
        return SeenCopy(place.label, Standing.CHANGED, *version, "someone else changed it, or another hub's key")
    if keys is None and not copy.intact:
        return SeenCopy(place.label, Standing.CHANGED, *version, "its store shows that someone else changed it")
    if keys is None and partner_of(workspace.catalogue, place.store):
        return SeenCopy(
            place.label, Standing.USELESS, *version, "it is another organisation's, who may have changed it"
        )
    if marks.grown or marks.shape.partition("-")[0] != place.shape.mark:
        why = "it keeps fields of several versions" if marks.grown else "it was made in another shape"
        return SeenCopy(place.label, Standing.USELESS, *version, why)
    standing = Standing.NOT_PROVEN if keys is None else Standing.PROVEN
    return HeldCopy(SeenCopy(place.label, standing, *version), place, text, parts_of(place, text))


def parts_of(place: Destination, text: Sensitive) -> Mapping[str, Any] | None:
    """The fields in a copy's text, by original name; None where its shape can't be inverted.

    Names with a dot are left out, since they may mean nested properties.
    """
    try:
        held = place.shape.part(text) if place.shape.field else place.shape.invert(text)
    except Unfit:
        return None
    plain = {name: value for name, value in held.items() if "." not in name or place.shape == WHOLE}
    return plain or None


def same_text(place: Destination, text: Sensitive, fields: SecretFields) -> bool | None:
    """Whether a copy of these fields at ``place`` would hold this text; None where unknown."""
    if place.shape.tells_previous:
        return None
    try:
        return place.shape.render(fields) == text
    except Unfit:
        return None


def fields_alike(first: SecretFields, other: SecretFields) -> bool:
    """Whether both have the same bytes in stores."""
    return payload(first) == payload(other)


def greatest_number(copies: Iterable[SeenCopy]) -> int:
    """The greatest version number in any copy."""
    return max((copy.version for copy in copies), default=0)
