"""When a secret is replaced: the settings that all strategies share."""

import re
from datetime import time, timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from keyturn.core import policy
from keyturn.core.suggest import likely
from keyturn.settings.fields import Duration, Model, PositiveDuration, refused

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
    max_grace: PositiveDuration | None = None
    """When the previous value ends although something still speaks against it; without it, never."""
    maximum_age: PositiveDuration | None = None
    """An alarm for a value older than this; longer than interval and jitter together."""

    @property
    def schedule(self) -> policy.Schedule:
        """The same in the words of the decision."""
        window = self.window.policy if self.window else None
        return policy.Schedule(self.interval, self.jitter, self.maximum_age, window)
