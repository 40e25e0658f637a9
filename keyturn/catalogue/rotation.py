"""How and when each secret is replaced: one model per strategy, told apart by ``strategy``."""

import re
from collections.abc import Mapping
from datetime import time, timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.fields import Duration, HubPath, Line, Model, PositiveDuration, RoleName, matching, refused
from keyturn.catalogue.problems import likely
from keyturn.core import policy
from keyturn.core.errors import Invalid
from keyturn.core.passwords import Form, PasswordPolicy

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _clock(value: Any) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(CLOCK, value):
        return time.fromisoformat(value)
    raise refused("is not a time of day", 'Write hours and minutes, "00:00" to "23:59".')


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(name: str) -> str:
    if name in _zones():
        return name
    if not _zones():
        raise refused("no time zone is known on this machine", "Install the package tzdata.")
    near = likely(name, _zones())
    raise refused("is not a known time zone", f"Did you mean {near}?" if near else "Write one such as Europe/Berlin.")


def _no_repeats(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise refused("names the same thing twice", "Name each once.")
    return items


ClockTime = Annotated[time, BeforeValidator(_clock), WithJsonSchema({"type": "string", "pattern": CLOCK})]
Timezone = Annotated[
    str, AfterValidator(_timezone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin", "UTC"]})
]


class Window(Model):
    """When rotations may start. One that ends before it begins crosses midnight and belongs to its first day."""

    days: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_no_repeats)]
    """The days on which the window begins."""
    begin: Annotated[ClockTime, Field(alias="from")]
    """The first minute, local time."""
    end: Annotated[ClockTime, Field(alias="to")]
    """The end, local time; this minute is outside."""
    timezone: Timezone
    """The time zone's name in the IANA database, such as Europe/Berlin."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.begin == self.end:
            raise refused("the window is empty: from and to are the same", "Make it longer, or leave window out.", "to")
        return self

    @property
    def policy(self) -> policy.Window:
        """The same in the words of the decision."""
        days = frozenset(DAYS.index(day) for day in self.days)
        return policy.Window(days, self.begin, self.end, self.timezone)


class PasswordSettings(Model):
    """What a generated value looks like."""

    form: Form = Form.PASSWORD
    """password, hex, url-safe (Base64 without padding) or uuid (random, 122 bits: set minimum_entropy: 122)."""
    length: Annotated[int, Field(ge=1, le=1024)] | None = None
    """For password the number of characters, for hex and url-safe the number of random bytes. 32 by default."""
    alphabet: Line | None = None
    """The characters a password is made of, instead of those of its classes: printable ASCII without the space."""
    classes: tuple[Literal["lower", "upper", "digit", "symbol"], ...] | None = None
    """The classes that each password shows; lower, upper and digit by default. The symbols are !*+-.=_~"""
    minimum_entropy: Annotated[float, Field(ge=1, le=8192)] = 128
    """Bits of entropy that the values must hold; rules that can't reach it are refused."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            _ = self.policy
        except Invalid as error:
            raise refused(error.problem, error.hint) from None
        return self

    @property
    def policy(self) -> PasswordPolicy:
        """The same in the core's words."""
        return PasswordPolicy(self.form, self.length, self.alphabet, self.classes, self.minimum_entropy)


class Timing(Model):
    """When a secret is replaced, and how long the old value stays valid: the same for every strategy."""

    interval: PositiveDuration
    """How often the secret is replaced."""
    window: Window | None = None
    """When replacing may start; without it, at any time."""
    jitter: Duration = timedelta(0)
    """Spreads secrets with one interval over this much time; at most half the interval."""
    grace: Duration
    """How long the previous value stays valid after the new one is in force; shorter than the interval."""
    maximum_age: PositiveDuration | None = None
    """An alarm for a value older than this; longer than interval and jitter together."""

    @property
    def schedule(self) -> policy.Schedule:
        """The same in the words of the decision."""
        window = self.window.policy if self.window else None
        return policy.Schedule(self.interval, self.jitter, self.maximum_age, window)


def _different(users: tuple[str, str]) -> tuple[str, str]:
    if users[0] == users[1]:
        raise refused("the two users are the same", "Name two: one serves while the other is changed.")
    return users


class AlternatingUsers(Timing):
    """Two accounts take turns, so that the old password works until its grace is over."""

    strategy: Literal["alternating-users"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the users log in to."""
    users: Annotated[tuple[RoleName, RoleName], AfterValidator(_different)]
    """The two login roles. No other secret may rotate them."""
    owner_role: RoleName
    """The role without login that both are members of, and that owns what they make."""
    password: PasswordSettings = PasswordSettings()
    """What the passwords look like."""

    @model_validator(mode="after")
    def _owner_is_neither(self) -> Self:
        if self.owner_role in self.users:
            remedy = "Name a third role, without login, that both users are members of."
            raise refused("the owner is one of the two users", remedy, "owner_role")
        return self


class SingleUser(Timing):
    """One account's password is changed in place: between target and consumer nothing works for a moment."""

    strategy: Literal["single-user"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the user logs in to."""
    user: RoleName
    """The login role. No other secret may rotate it."""
    accepts_gap: Annotated[Literal[True], BeforeValidator(lambda value: _accepted(value))]
    """True, once it is accepted that logins are refused from the change until the consumer has read the new value."""
    password: PasswordSettings = PasswordSettings()
    """What the passwords look like."""


def _accepted(value: Any) -> bool:
    if value is True:
        return True
    raise refused(
        "with one user, logins are refused from the change until the consumer has read the new password",
        "Say accepts_gap: true if it can bear that, else use alternating-users.",
    )


class VaultDynamic(Timing):
    """The hub's database engine makes a new account for each version."""

    strategy: Literal["vault-dynamic"]
    """How the secret is replaced."""
    target: Line
    """The name of the target that the new account is tried at."""
    mount: HubPath = "database"
    """Where the hub's database engine is mounted."""
    role: Annotated[
        str,
        matching(r"\w(([\w.-]+)?\w)?", "is not a legal role name", "Use letters, digits and _ . -"),
        WithJsonSchema({"type": "string", "pattern": r"^\w(([\w.-]+)?\w)?$"}),
    ]
    """The engine's role, of no other secret."""


FieldName = Annotated[
    str,
    matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "is not a legal field name", "Use letters, digits and _ . -"),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"}),
]


class Generated(Timing, PasswordSettings):
    """Random values made here, one field or several: API keys, signing keys, tokens."""

    strategy: Literal["generated"]
    """How the secret is replaced."""
    field: FieldName = "value"
    """The field that holds the value, where there is only one."""
    fields: Annotated[dict[FieldName, PasswordSettings], Field(min_length=1)] | None = None
    """Several fields, each with rules of its own; then no rules and no `field` stand beside it."""

    @model_validator(mode="after")
    def _one_way_or_the_other(self) -> Self:
        beside = self.model_fields_set & {"field", *PasswordSettings.model_fields}
        if self.fields is not None and beside:
            said = f"fields stands beside {', '.join(sorted(beside))}"
            raise refused(said, "Move these into each field, or remove fields.", "fields")
        return self

    @property
    def policies(self) -> Mapping[str, PasswordPolicy]:
        """Every generated field's policy, by name."""
        if self.fields is not None:
            return {name: rules.policy for name, rules in self.fields.items()}
        return {self.field: self.policy}


Rotation = Annotated[AlternatingUsers | SingleUser | VaultDynamic | Generated, Field(discriminator="strategy")]
