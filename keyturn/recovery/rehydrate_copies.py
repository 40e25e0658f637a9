"""What the stores hold of each secret: which copies there are, what they give back, and which of them can be believed.

Marks say which secret and version a copy was made of. Whether it still holds that is told by its fingerprint, which
nobody can make without the hub's key. Without that key nothing is proven, and copies are compared with each other.
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
    """What is known of one copy."""

    PROVEN = "proven"
    """It holds what the hub had pushed there: its fingerprint, by the hub's key, is that of its marks."""
    NOT_PROVEN = "not proven"
    """Its marks name the secret; without the key nobody can tell whether it was changed since."""
    CHANGED = "changed"
    """Its fingerprint is not that of its marks: somebody else has changed it, or another key has made them."""
    USELESS = "useless"
    """Nothing of it leads back, or it is not this secret's."""
    UNSEEN = "unseen"
    """It could not be looked at, so it may be newer than what was seen."""


@dataclass(frozen=True)
class SeenCopy:
    """One copy, in names. ``why`` is what stands in the way of it."""

    place: str
    standing: Standing
    version: int = 0
    created_at: datetime | None = None
    why: str = ""

    @property
    def order(self) -> tuple[float, int]:
        """The newest is the greatest, by the hub's clock; of marks without a time it is not known."""
        return self.created_at.timestamp() if self.created_at else 0.0, self.version


@dataclass(frozen=True)
class HeldCopy:
    """A copy with its text. ``parts`` are the fields that lead back, None where it is made one way only.

    ``whole`` says that they are all that the secret had.
    """

    seen: SeenCopy
    destination: Destination
    text: Sensitive = field(repr=False)
    parts: Mapping[str, Any] | None = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether the copy is the secret as it is."""
        return self.parts is not None and not (self.destination.shape.fields or self.destination.shape.field)

    @property
    def lasting(self) -> bool:
        """Whether it is written again with each version, so that it is as new as the store's other copies."""
        return self.destination.update is not Update.CREATE_ONLY


@dataclass(frozen=True)
class Spot:
    """A place of the catalogue with what was seen there; ``error`` says why nothing could be."""

    destination: Destination
    copy: RemoteSecret | None
    error: KeyturnError | None = None


@dataclass(frozen=True)
class Found:
    """All places of all secrets, with what the stores' listings told of them.

    ``undeclared`` are secrets that copies name and nothing of the catalogue pushes, and ``foreign`` those of other
    catalogues: none of them is taken. ``unread`` says why a store could not be listed.
    """

    spots: Mapping[str, Sequence[Spot]]
    undeclared: tuple[str, ...]
    foreign: Mapping[str, str]
    unread: Mapping[str, KeyturnError]


def find_copies(workspace: Workspace) -> Found:
    """Where the copies of every secret of the catalogue should be, and what is there, told by listings."""
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
    """Whether this catalogue has made a copy; of one without an id that is believed where the catalogue declares it."""
    declared = marks.source in workspace.catalogue.secrets or workspace.catalogue.id in UNCLAIMED
    return ours(workspace, marks) and (declared or marks.catalogue not in UNCLAIMED)


def listed_marks(listing: Future[list[RemoteSecret]]) -> list[OwnershipTags]:
    """The marks that a store's listing shows; what hinders it is told of the store."""
    try:
        return [copy.marks for copy in listing.result() if copy.marks]
    except Exception:  # noqa: BLE001  the same future is asked again where the store's error is kept
        return []


def spots_of(workspace: Workspace, path: str, holdings: Mapping[str, Holdings]) -> Iterator[Spot]:
    """The places of one secret; those of a pattern of fields are told by the copies that are there."""
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
    """The place of a copy that a pattern has made; one whose field can't be told from its name keeps the pattern."""
    before, _, after = pattern.place.name.partition(EACH)
    if pattern.place.case or EACH in after:
        return pattern.place.model_copy(update={"name": name})
    return pattern.of(name[len(before) : len(name) - len(after)])


def held_copies(
    workspace: Workspace, wanted: Mapping[str, Sequence[Spot]], keys: FingerprintKeys | None
) -> dict[str, list[SeenCopy | HeldCopy]]:
    """What each place of these secrets holds: with its text where that leads anywhere, or why it does not.

    Values are read in as few calls as the stores allow, and forgotten with what is returned.
    """
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
    """What marks alone tell of a place: nothing to read there, and why; None where its value is to be read."""
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
    """The values that a store serves under these names; why one can't be had is its answer, and stops no other."""
    opened = workspace.open_store(store)
    try:
        texts = opened.read_many(names)
        return {name: texts.get(name) for name in names}
    except KeyturnError:
        pass  # one that may not be read fails them all: each is asked for by itself

    def read(name: str) -> Sensitive | KeyturnError:
        try:
            return opened.read(name)
        except KeyturnError as error:
            return error

    return dict(zip(names, side_by_side(read, names, AT_ONCE), strict=True))


def read_part(workspace: Workspace, path: str, spot: Spot, keys: FingerprintKeys | None) -> SeenCopy | HeldCopy:
    """What is merged of the secret into one that others own."""
    try:
        text: Sensitive | KeyturnError = workspace.open_copy(path, spot.destination).read(spot.destination.name)
    except KeyturnError as error:
        text = error
    return judge_copy(workspace, path, spot, text, keys)


def judge_copy(
    workspace: Workspace, path: str, spot: Spot, text: Sensitive | KeyturnError | None, keys: FingerprintKeys | None
) -> SeenCopy | HeldCopy:
    """Whether what a copy holds is what its marks say, and what of it leads back to the secret's fields."""
    copy, place = spot.copy, spot.destination
    marks = copy.marks if copy else None
    if copy is None or marks is None:
        return SeenCopy(place.label, Standing.USELESS, why="it is not this secret's copy")
    version = (marks.version, marks.created_at)
    if not isinstance(text, Sensitive):
        gone = "it is disabled, deleted or scheduled for deletion" if not copy.intact else "it gives no value"
        return SeenCopy(place.label, Standing.UNSEEN if text else Standing.USELESS, *version, str(text or gone))
    if keys is not None and not vouches(marks.fingerprint, keys.make(path, text)):
        return SeenCopy(place.label, Standing.CHANGED, *version, "somebody else has changed it, or another hub's key")
    if keys is None and not copy.intact:
        return SeenCopy(place.label, Standing.CHANGED, *version, "its store shows that somebody else has changed it")
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
    """The secret's fields that a copy's text holds, by their own names; None where it was made one way only.

    A field's bare text leads back to that text. A name with a dot may mean a property within a field, so it does not.
    """
    try:
        held = place.shape.part(text) if place.shape.field else place.shape.invert(text)
    except Unfit:
        return None
    plain = {name: value for name, value in held.items() if "." not in name or place.shape == WHOLE}
    return plain or None


def same_text(place: Destination, text: Sensitive, fields: SecretFields) -> bool | None:
    """Whether a copy at ``place`` of a secret with these fields would hold this text; None where nobody can tell."""
    if place.shape.tells_previous:
        return None
    try:
        return place.shape.render(fields) == text
    except Unfit:
        return None


def fields_alike(first: SecretFields, other: SecretFields) -> bool:
    """Whether two secrets are the same, to the byte of what stores hold."""
    return payload(first) == payload(other)


def greatest_number(copies: Iterable[SeenCopy]) -> int:
    """The greatest number that any copy names."""
    return max((copy.version for copy in copies), default=0)
