"""When a secret is replaced: the settings that all strategies share."""

import re
from datetime import time, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from keyturn.core.schedule import windows
from keyturn.core.schedule.cron import Cron, cron_flaw
from keyturn.core.schedule.facts import Schedule
from keyturn.core.text.suggest import likely
from keyturn.settings.fields import Duration, Model, PositiveDuration, refused

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

LOOKED: Final = timedelta(minutes=15)
"""How often Keyturn looks for due secrets."""


def _clock(value: Any) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(CLOCK, value):
        return time.fromisoformat(value)
    raise refused("is not a time of day", 'Write hours and minutes, "00:00" to "23:59".')


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def is_timezone(name: str) -> bool:
    return name in _zones()


def _timezone(name: str) -> str:
    if is_timezone(name):
        return name
    if not _zones():
        raise refused("no time zone is known on this machine", "Install the package tzdata.")
    near = likely(name, _zones())
    raise refused("is not a known time zone", f"Did you mean {near}?" if near else "Write one such as Europe/Berlin.")


def _cron(expression: str) -> str:
    if problem := cron_flaw(expression):
        remedy = 'Write minute, hour, day of the month, month and day of the week, such as "0 3 * * sun".'
        raise refused(f"is not a cron expression: {problem}", remedy)
    distances = Cron(expression, "UTC").distances()
    if distances is None:
        raise refused("comes round less than once in eight years", "Write one that comes round more often.")
    if distances[0] < LOOKED:
        remedy = 'Write the minute as a number: "* 3 * * sun" is every minute of that hour, "0 3 * * sun" is once.'
        raise refused("comes round more often than every 15 minutes", remedy)
    return expression


def no_repeats(items: tuple[str, ...]) -> tuple[str, ...]:
    """Return the items. Raises what pydantic collects where one is there twice."""
    if len(set(items)) < len(items):
        raise refused("names the same thing twice", "Name each once.")
    return items


ClockTime = Annotated[time, BeforeValidator(_clock), WithJsonSchema({"type": "string", "pattern": CLOCK})]
Timezone = Annotated[
    str, AfterValidator(_timezone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin", "UTC"]})
]
CronExpression = Annotated[
    str, AfterValidator(_cron), WithJsonSchema({"type": "string", "examples": ["0 3 * * sun", "30 2 1 * *"]})
]


class Window(Model):
    """When rotations may start. One that ends before it begins crosses midnight and belongs to its first day."""

    days: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(no_repeats)]
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
    def policy(self) -> windows.Window:
        days = frozenset(DAYS.index(day) for day in self.days)
        return windows.Window(days, self.begin, self.end, self.timezone)


class Timing(Model):
    """When a secret is replaced, and how long the old value stays valid: the same for every strategy."""

    ends_by_itself: ClassVar[bool] = False
    """Whether every value has its own expiry, before which it is replaced even without interval and cron."""

    tells_revoked: ClassVar[bool] = False
    """Whether a revoked value is recognised without a login."""

    cron: CronExpression | None = None
    """At which times the secret is replaced, instead of an interval: minute, hour, day of the month, month and day
    of the week."""
    timezone: Annotated[Timezone | None, Field(validate_default=True)] = None
    """The time zone of cron: its name in the IANA database, such as Europe/Berlin."""
    interval: Annotated[PositiveDuration | None, Field(validate_default=True)] = None
    """How often the secret is replaced."""
    window: Window | None = None
    """When replacing may start; without it, at any time."""
    jitter: Duration = timedelta(0)
    """Spreads secrets that come due together over this much time; at most half the interval."""
    grace: Duration
    """How long the previous value stays valid after the new one is in force; shorter than the interval."""
    max_grace: PositiveDuration | None = None
    """When the previous value ends although something still speaks against it; without it, never."""
    maximum_age: PositiveDuration | None = None
    """An alarm for a value older than this; longer than interval and jitter together."""

    @field_validator("timezone")
    @classmethod
    def _of_cron(cls, timezone: str | None, info: ValidationInfo) -> str | None:
        if timezone is None and info.data.get("cron"):
            raise refused("is missing", "Add timezone: the time zone of cron, such as Europe/Berlin.")
        if timezone is not None and info.data.get("cron", "") is None:
            raise refused("is given without cron", "Remove it, or add cron; a window has its own time zone.")
        return timezone

    @field_validator("interval")
    @classmethod
    def _or_cron(cls, interval: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if interval is not None and info.data.get("cron"):
            raise refused("is given together with cron", "Keep one of the two.")
        if interval is None and info.data.get("cron", "") is None and not cls.ends_by_itself:
            remedy = "Add interval: how often the secret is replaced, or cron and timezone: at which times."
            raise refused("is missing", remedy)
        return interval

    @property
    def longest(self) -> timedelta | None:
        """The longest time from one rotation until the next is due; None where only the value's expiry makes it due.

        It includes jitter, but no delay by a window, a freeze or a failure.
        """
        if self.interval is not None:
            return self.interval + self.jitter
        distances = self.schedule.cron.distances() if self.schedule.cron else None
        return distances[1] + self.jitter if distances else None

    @property
    def schedule(self) -> Schedule:
        window = self.window.policy if self.window else None
        cron = Cron(self.cron, self.timezone) if self.cron and self.timezone else None
        return Schedule(self.interval, self.jitter, self.maximum_age, window, cron)
