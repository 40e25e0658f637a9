"""What a recipe's file holds."""

import re
from datetime import date
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.text import templates
from keyturn.core.text.suggest import advice
from keyturn.settings.fields import Duration, Line, Model, refused
from keyturn.settings.patterns import QuickPattern
from keyturn.settings.requests import ShortName
from keyturn.strategies.registry import STRATEGIES

Category = Literal[
    "ai",
    "data",
    "cloud",
    "code",
    "ci",
    "messaging",
    "observability",
    "identity",
    "database",
    "network",
    "business",
]
Value = Any
"""A text, a number, a list or a mapping."""
LONGEST_TEXT: Final = 200
LARGEST_VALUE: Final = 10_000
"""Characters and values of a parameter, which each of a recipe's ``MOST_PLACES`` may repeat."""
MOST_PLACES: Final = 500


class ParameterSettings(Model):
    """One thing that a catalogue says about its account, such as a project's id."""

    about: Line
    """What it is and where to find it."""
    example: Value
    """A value that could be real; `keyturn recipe show` and the tests use it."""
    default: Value = None
    """The value of a catalogue that gives none; without it, the parameter is required."""
    pattern: QuickPattern | None = None
    """What the whole of a text must match: a regular expression without groups."""
    choices: tuple[Line, ...] = ()
    """The values that the service knows."""

    @model_validator(mode="after")
    def _example_is_legal(self) -> Self:
        for key, value in (("example", self.example), ("default", self.default)):
            if value is not None and (flaw := self.flaw(value)):
                raise refused(f"is no legal value: {flaw}", "Correct it, or the pattern.", key)
        return self

    def flaw(self, value: Value) -> str:
        """What is wrong with a value for it; empty if nothing is."""
        if isinstance(value, dict | list) != isinstance(self.example, dict | list):
            return "it must be a list or a mapping" if isinstance(self.example, dict | list) else "it must be one value"
        if isinstance(self.example, int) and not isinstance(value, int):
            return "it must be a number"
        if _size(value) > LARGEST_VALUE:
            return f"it is larger than {LARGEST_VALUE:,} characters"
        if any("{{" in text or "}}" in text for text in templates.texts(value)):
            return "it holds {{ or }}, and only the recipe's own texts may name fields"
        if self.choices and value not in self.choices:
            return f"it must be one of {', '.join(self.choices)}"
        if self.pattern and not (
            isinstance(value, str) and len(value) <= LONGEST_TEXT and re.fullmatch(self.pattern, value)
        ):
            return f"it does not match {self.pattern}"
        return ""


def _size(value: Value) -> int:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return 1 + sum(map(_size, value)) if isinstance(value, list) else len(str(value))


class SourceSettings(Model):
    """A document that the recipe was written from."""

    document: Line
    """Its title and publisher, so that a reader finds it."""
    checked: date
    """The day on which it was read, or on which an author wrote it down from memory."""
    seen: Literal["server", "documentation", "source code", "memory"]
    """The kind of source. `server`: tried at a real one. `memory`: no document was read, so check it before you rely on
    it."""


class OrphanSettings(Model):
    """A credential that no one knows, which a lost answer or a request sent twice may leave at the service."""

    lives: Duration | None = None
    """How long it lives at most; without it, until a person deletes it."""
    remedy: Line
    """What a person can do about it."""


class FactSettings(Model):
    """What a person wants to know before using it."""

    side_by_side: Literal["many"] | Annotated[int, Field(ge=1)]
    """How many credentials of one account may work at once; 1 means that the old one ends with the new one."""
    shown_once: bool
    """Whether the service shows the value only in the answer that creates it."""
    ends: Line
    """How long an ended credential may keep working, such as "at once" or "within 60 s"."""
    orphan: OrphanSettings | None = None
    """What a rotation may leave where the service gives no way to find it."""
    admin: Line
    """The right that the admin credential needs at the service."""
    limits: tuple[Line, ...] = ()
    """Documented limits, such as the number of keys or of requests."""
    notes: tuple[Line, ...] = ()
    """What else to know."""


class AnyRecipe(Model):
    """What recipes of credentials and of stores share."""

    title: Line
    """The service's own name of it."""
    parameters: dict[ShortName, ParameterSettings] = Field(default_factory=dict)
    """What a catalogue must say, by name; texts refer to one as {{NAME}}."""
    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    """The documents that it was written from."""
    emulator: dict[str, Value] = Field(default_factory=dict)
    """How the service's documented answers differ from the usual ones, for tests."""

    def check_texts(self, key: str, *described: Value) -> None:
        """Refuse too many places, and parameters that no text uses."""
        places = [name for text in templates.texts([*described]) for name in templates.names(text)]
        if len(places) > MOST_PLACES:
            raise refused(f"its texts name {len(places):,} places", f"Name {MOST_PLACES} at most.", key)
        if idle := sorted(self.parameters.keys() - self.named([*described])):
            raise refused(f"no text uses {{{{{idle[0]}}}}}", "Use it, or remove the parameter.", "parameters")

    def named(self, data: Value) -> set[str]:
        """The parameters that the texts in ``data`` refer to."""
        return {name for text in templates.texts(data) for name in templates.names(text)} & self.parameters.keys()

    @property
    def examples(self) -> dict[str, Value]:
        return {name: parameter.example for name, parameter in self.parameters.items()}

    @property
    def checked(self) -> date:
        """The day on which the newest document was read."""
        return max(source.checked for source in self.sources)


class Recipe(AnyRecipe):
    """One kind of credential: which strategy replaces it, and how the service wants to be asked."""

    category: Category
    """The field that the service belongs to."""
    strategy: Line
    """The strategy that plays the recipe."""
    target: dict[str, Value] | None = None
    """The target's settings but for admin; none for a strategy without a target."""
    rotation: dict[str, Value]
    """The strategy's settings."""
    defaults: dict[str, Value] = Field(default_factory=dict)
    """Settings that a catalogue may replace, such as interval and grace."""
    facts: FactSettings
    """What to know before using it."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.strategy not in STRATEGIES:
            raise refused("no strategy has this name", advice(self.strategy, STRATEGIES, ""), "strategy")
        if self.target is not None and "kind" not in self.target:
            raise refused("has no kind", "Add kind: such as http-api.", "target")
        if not isinstance(self.rotation.get("constants", {}), dict):
            raise refused("constants is no mapping", "Write indented `name: text` lines below it.", "rotation")
        if both := sorted(self.rotation.keys() & self.defaults.keys()):
            raise refused(f"{both[0]} is also under rotation", "Keep one of the two.", "defaults")
        self.check_texts("rotation", self.rotation, self.target)
        return self

    @property
    def takes_target(self) -> bool:
        """Whether a catalogue names a target."""
        return self.target is not None or STRATEGIES[self.strategy].needs_target()


class IdentityRecipe(AnyRecipe):
    """How a service gives short-lived tokens to workloads that have an identity of their own."""

    category: Category
    """The field that the service belongs to."""
    replaces: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The recipes, and strategies without a recipe, whose keys the identity replaces."""
    identity: dict[str, Value] | None = None
    """A route's identity but for token_file; none where only the service's own SDK can use its tokens."""
    audience: Line
    """The audience that the workload's own token needs."""
    trust: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The steps that make the service trust the workload, which may name {{issuer}}, {{subject}} and {{audience}}."""
    lives: Line
    """How long a token of the service lives."""
    notes: tuple[Line, ...] = ()
    """What else to know."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        self.check_texts("trust", self.identity, *self.trust, self.audience)
        return self


class StoreFacts(Model):
    """What a person wants to know before pushing copies there."""

    needs: Line
    """The right that the login in token_file needs at the service."""
    reads: Line
    """When a consumer there sees a new value, such as "at its next job" or "at its next start"."""
    race: Line = "The later of two writes wins: Keyturn looks before it writes and reads back, but can't lock."
    """What happens to a write that another one overtakes."""
    limits: tuple[Line, ...] = ()
    """Documented limits, such as the number of copies or of requests."""
    notes: tuple[Line, ...] = ()
    """What else to know."""


class StoreRecipe(AnyRecipe):
    """One store: how the service wants to be asked for its entries."""

    category: Literal["code", "ci", "hosting", "data", "secrets"]
    """The field that the service belongs to."""
    store: dict[str, Value]
    """The store's settings but for token_file and constants."""
    defaults: dict[str, Value] = Field(default_factory=dict)
    """Settings that a catalogue may replace, such as writes_per_second."""
    facts: StoreFacts
    """What to know before using it."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if both := sorted(self.store.keys() & self.defaults.keys()):
            raise refused(f"{both[0]} is also under store", "Keep one of the two.", "defaults")
        self.check_texts("store", self.store)
        return self
