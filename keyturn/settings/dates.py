"""Dates from now, such as the end that a request gives to a new key."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self

from pydantic import model_validator

from keyturn.settings.durations import show
from keyturn.settings.fields import Model, PositiveDuration, refused

DAY: Final = timedelta(days=1)
UNITS: Final[Mapping[str, timedelta]] = {"seconds": timedelta(seconds=1), "hours": timedelta(hours=1), "days": DAY}


class DateSettings(Model):
    """A date from now, or the time until then as a number."""

    after: PositiveDuration
    """The time until then, such as 90d. A key must outlive interval, jitter and grace."""
    format: Literal["rfc3339", "date", "unix", "unix_ms", "seconds", "hours", "days"] = "rfc3339"
    """How a request writes it: RFC 3339 in UTC, a date such as 2026-12-31, seconds or milliseconds since 1970, or the
    number of seconds, hours or days from now."""

    @model_validator(mode="after")
    def _whole_number(self) -> Self:
        unit = UNITS.get(self.format)
        if unit and self.after % unit:
            raise refused(f"{show(self.after)} is no whole number of {self.format}", "Write one that is.", "after")
        return self

    @property
    def least(self) -> timedelta:
        """The shortest time until it: a date may mean the beginning of its day."""
        return max(timedelta(0), self.after - DAY) if self.format == "date" else self.after

    def value(self, now: datetime) -> str | int:
        """Return it as a request writes it; what APIs take as a number is one."""
        at = (now + self.after).astimezone(UTC)
        match self.format:
            case "rfc3339":
                return f"{at:%Y-%m-%dT%H:%M:%SZ}"
            case "date":
                return f"{at:%Y-%m-%d}"
            case "unix":
                return int(at.timestamp())
            case "unix_ms":
                return int(at.timestamp() * 1000)
        return self.after // UNITS[self.format]
