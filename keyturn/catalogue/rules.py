"""Rules of a catalogue: which secrets may, must and must not be copied to which stores and places."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, WithJsonSchema, model_validator

from keyturn.catalogue.choice import Choice
from keyturn.catalogue.groups import Groups, members
from keyturn.catalogue.stores import STORE_KINDS
from keyturn.core.suggest import advice
from keyturn.settings.fields import Line, Model, matching, refused
from keyturn.settings.stores import StoreBase

Said = tuple[str, str]
"""What is wrong, and the remedy."""

PLACE_PATTERN: Final = r"[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?"

PlacePattern = Annotated[
    str,
    matching(PLACE_PATTERN, "is no pattern of places", "Write a place such as eu-central-1, or eu-* for some of them."),
    WithJsonSchema({"type": "string", "pattern": f"^{PLACE_PATTERN}$"}),
]


def _kind(kind: str) -> str:
    if kind not in STORE_KINDS:
        raise refused("is no kind of store", advice(kind, STORE_KINDS, ""))
    return kind


StoreKind = Annotated[str, AfterValidator(_kind), WithJsonSchema({"enum": list(STORE_KINDS)})]


class Where(Model):
    """Some stores: those for which all holds that is given."""

    stores: tuple[Line, ...] = ()
    """Stores by their names in this catalogue; a name that stands for several means each of them."""
    kinds: tuple[StoreKind, ...] = ()
    """Stores of one of these kinds."""
    places: tuple[PlacePattern, ...] = ()
    """Stores whose copies lie in one of these places: regions, locations, or what the store says; * is any text."""

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not (self.stores or self.kinds or self.places):
            raise refused("names no store", "Add stores, kinds or places.")
        return self

    def names(self, store: str, settings: StoreBase) -> bool:
        """Whether it means the store as far as name and kind tell."""
        return (not self.stores or store in self.stores) and (not self.kinds or settings.kind in self.kinds)

    def outside(self, settings: StoreBase) -> list[str]:
        """The store's places that are none of these; none where all places will do."""
        return [place for place in settings.places if self.places and not self._has(place)]

    def within(self, settings: StoreBase) -> list[str]:
        """The store's places that are among these; all of them where any will do."""
        return [place for place in settings.places if not self.places or self._has(place)]

    def untold(self, settings: StoreBase) -> bool:
        """Whether it asks for places, and the store does not tell its own."""
        return bool(self.places) and not settings.places

    def _has(self, place: str) -> bool:
        return any(fnmatchcase(place, pattern) for pattern in self.places)

    @property
    def words(self) -> str:
        """What is asked for, as people read it."""
        return " and ".join(" or ".join(choices) for choices in (self.stores, self.kinds, self.places) if choices)


class RuleSettings(Choice):
    """Where the secrets that it chooses may be copied to, must be, and must not be."""

    only: Where | None = None
    """The stores that they may be copied to; to no other."""
    never: Where | None = None
    """The stores that they must not be copied to."""
    always: Where | None = None
    """Where they must have a copy: in each of these stores, or in one of such a kind and place."""
    reason: Line | None = None
    """Why, for whoever comes upon the rule."""

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if not (self.only or self.never or self.always):
            raise refused("says nothing of copies", "Add only, never or always.")
        return self

    def refuses(self, store: str, settings: StoreBase) -> Said | None:
        """Why no copy may be in this store; None where one may."""
        if (only := self.only) and not only.names(store, settings):
            return f"allows copies in {only.words} alone", "Push it there, or nowhere."
        if (only := self.only) and only.untold(settings):
            return _untold(store, settings)
        if (only := self.only) and (strange := only.outside(settings)):
            return f"allows copies in {only.words} alone, and {store} keeps them in {strange[0]}", "Push it elsewhere."
        never = self.never
        if not never or not never.names(store, settings):
            return None
        if never.untold(settings):
            return _untold(store, settings)
        if never.places and not (places := never.within(settings)):
            return None
        at = f", and {store} keeps them in {places[0]}" if never.places else ""
        return f"forbids copies in {never.words}{at}", "Push it elsewhere."

    def lacks(self, copies: Mapping[str, StoreBase]) -> Iterator[str]:
        """Where a copy is wanted that a secret with copies in these stores has not."""
        always = self.always
        if not always:
            return
        fitting = {store for store, settings in copies.items() if self._suffices(always, store, settings)}
        yield from (store for store in always.stores if store not in fitting)
        if not always.stores and not fitting:
            yield always.words

    def _suffices(self, always: Where, store: str, settings: StoreBase) -> bool:
        certain = not always.untold(settings) and not always.outside(settings)
        return always.names(store, settings) and certain


def _untold(store: str, settings: StoreBase) -> Said:
    return f"asks where the copies in {store} lie, and nothing says it", settings.place_remedy


def spread_rule(rule: RuleSettings, groups: Groups) -> RuleSettings:
    """The same rule, which names every store by itself."""
    changes: dict[str, Any] = {}
    for key in ("only", "never", "always"):
        where: Where | None = getattr(rule, key)
        if where and not groups.keys().isdisjoint(where.stores):
            stores = tuple(member for store in where.stores for member in members(groups, store))
            changes[key] = where.model_copy(update={"stores": stores})
    return rule.model_copy(update=changes) if changes else rule
