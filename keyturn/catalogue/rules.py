"""Rules of a catalogue: stores and places that secrets may, must or must not be copied to."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, WithJsonSchema, model_validator

from keyturn.catalogue.choice import Choice
from keyturn.catalogue.groups import Groups, members
from keyturn.catalogue.stores import STORE_KINDS
from keyturn.core.text.suggest import advice
from keyturn.settings.durations import show
from keyturn.settings.fields import Line, Model, PositiveDuration, matching, refused
from keyturn.settings.stores import StoreBase
from keyturn.settings.timing import Timing

Said = tuple[str, str]
"""The message and the remedy."""

PLACE_PATTERN: Final = r"[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?"

PlacePattern = Annotated[
    str,
    matching(PLACE_PATTERN, "is no pattern of places", "Write a place such as eu-central-1, or eu-* for some of them."),
    WithJsonSchema({"type": "string", "pattern": f"^{PLACE_PATTERN}$"}),
]

ACCOUNT_PATTERN: Final = r"[A-Za-z0-9._:/*-]+"

AccountPattern = Annotated[
    str,
    matching(
        ACCOUNT_PATTERN, "is no pattern of accounts", "Write an account's id, a project, OWNER/NAME, or a part with *."
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{ACCOUNT_PATTERN}$"}),
]


def _kind(kind: str) -> str:
    if kind not in STORE_KINDS:
        raise refused("is no kind of store", advice(kind, STORE_KINDS, ""))
    return kind


StoreKind = Annotated[str, AfterValidator(_kind), WithJsonSchema({"enum": list(STORE_KINDS)})]


class Where(Model):
    """A choice of stores: all given conditions must hold."""

    stores: tuple[Line, ...] = ()
    """Stores by their names in this catalogue; a group's name covers each of its stores."""
    kinds: tuple[StoreKind, ...] = ()
    """Stores of one of these kinds."""
    places: tuple[PlacePattern, ...] = ()
    """Stores with copies in one of these places: regions, locations, or the store's own place; * is any text."""
    accounts: tuple[AccountPattern, ...] = ()
    """Stores of these AWS accounts, Google Cloud projects or GitHub repositories; * is any text."""

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not (self.stores or self.kinds or self.places or self.accounts):
            raise refused("names no store", "Add stores, kinds, places or accounts.")
        return self

    def names(self, store: str, settings: StoreBase) -> bool:
        return (not self.stores or store in self.stores) and (not self.kinds or settings.kind in self.kinds)

    def outside(self, settings: StoreBase) -> list[str]:
        """The store's places and accounts that match none of the patterns."""
        pairs = self._asked(settings)
        return [value for patterns, values in pairs for value in values if not _has(patterns, value)]

    def within(self, settings: StoreBase) -> list[str] | None:
        """A matching value of the store for each given pattern list; None if one has no match."""
        fitting = [[value for value in values if _has(patterns, value)] for patterns, values in self._asked(settings)]
        return [values[0] for values in fitting] if all(fitting) else None

    def untold(self, store: str, settings: StoreBase) -> Said | None:
        """The message and the remedy if the store lacks a requested property; else None."""
        if self.places and not settings.places:
            return f"needs the place of the copies in {store}, which is not given", settings.place_remedy
        if self.accounts and not settings.accounts:
            remedy = "Name it on the store, such as by role_arn."
            return f"asks in whose account {store} is, and nothing says it", remedy
        return None

    def _asked(self, settings: StoreBase) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        pairs = ((self.places, settings.places), (self.accounts, tuple(settings.accounts.values())))
        return [(patterns, values) for patterns, values in pairs if patterns]

    @property
    def words(self) -> str:
        conditions = (self.stores, self.kinds, self.places, self.accounts)
        return " and ".join(" or ".join(choices) for choices in conditions if choices)


def _has(patterns: tuple[str, ...], value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


class RuleSettings(Choice):
    """A rule for the chosen secrets: where copies may, must or must not be, and how often values are replaced."""

    only: Where | None = None
    """The only stores that may have a copy."""
    never: Where | None = None
    """Stores that must not have a copy."""
    always: Where | None = None
    """The required copies: in each of the named stores, or in one of such a kind and place."""
    most_age: PositiveDuration | None = None
    """The maximum age of a value until its replacement is due: interval plus jitter, or cron's longest interval."""
    least_grace: PositiveDuration | None = None
    """The minimum time that the previous value stays valid after the new one takes effect."""
    reason: Line | None = None
    """The reason, for readers of the rule."""

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if not (self.only or self.never or self.always or self.most_age or self.least_grace):
            raise refused("asks for nothing", "Add only, never, always, most_age or least_grace.")
        return self

    def refuses(self, store: str, settings: StoreBase) -> Said | None:
        """The message and the remedy if no copy may be in this store; else None."""
        if (only := self.only) and not only.names(store, settings):
            return f"allows copies in {only.words} alone", "Push it there, or nowhere."
        if (only := self.only) and (untold := only.untold(store, settings)):
            return untold
        if (only := self.only) and (strange := only.outside(settings)):
            return f"allows copies in {only.words} alone, and {store} keeps them in {strange[0]}", "Push it elsewhere."
        never = self.never
        if not never or not never.names(store, settings):
            return None
        if untold := never.untold(store, settings):
            return untold
        if (fitting := never.within(settings)) is None:
            return None
        at = f", and {store} keeps them in {fitting[0]}" if fitting else ""
        return f"forbids copies in {never.words}{at}", "Push it elsewhere."

    def refuses_timing(self, timing: Timing) -> Iterator[tuple[str, str, str]]:
        """Yields key, message and remedy of each time that breaks the rule."""
        age = timing.longest or timing.maximum_age
        if self.most_age and (age is None or age > self.most_age):
            key = next((key for key in ("interval", "cron", "maximum_age") if getattr(timing, key)), "")
            problem = f"lets no value become older than {show(self.most_age)}"
            may = f"this one may become {show(age)}" if age else "nothing says how old this one may"
            remedy = "Have it replaced more often: interval, cron, or maximum_age where a person replaces it."
            yield key, f"{problem}, and {may}", remedy
        by_hand = timing.schedule.by_hand  # Keyturn does not end values that a person replaces
        if self.least_grace and timing.grace < self.least_grace and not by_hand:
            yield "grace", f"wants a grace of {show(self.least_grace)} at least", f"Set it to {show(self.least_grace)}."

    def lacks(self, copies: Mapping[str, StoreBase]) -> Iterator[str]:
        always = self.always
        if not always:
            return
        fitting = {
            store
            for store, settings in copies.items()
            if always.names(store, settings) and not always.untold(store, settings) and not always.outside(settings)
        }
        yield from (store for store in always.stores if store not in fitting)
        if not always.stores and not fitting:
            yield always.words


def spread_rule(rule: RuleSettings, groups: Groups) -> RuleSettings:
    changes: dict[str, Any] = {}
    for key in ("only", "never", "always"):
        where: Where | None = getattr(rule, key)
        if where and not groups.keys().isdisjoint(where.stores):
            stores = tuple(member for store in where.stores for member in members(groups, store))
            changes[key] = where.model_copy(update={"stores": stores})
    return rule.model_copy(update=changes) if changes else rule
