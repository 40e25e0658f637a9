"""Exceptions from checks of compliance reports: each has an owner and an end."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from keyturn.catalogue.choice import Choice
from keyturn.settings.fields import Line, refused
from keyturn.settings.timing import no_repeats

DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

CheckName = Literal[
    "rotation-automated",
    "rotation-in-time",
    "rotated-in-period",
    "limits-declared",
    "old-credentials-ended",
    "copies-in-step",
    "logins-work",
    "certificates-in-time",
    "cryptoperiods",
    "revocation-tested",
]
"""The checks of :data:`keyturn.evidence.checks.CHECKS` about single secrets."""


def _day(value: Any) -> date:
    # YAML reads an unquoted day as a date.
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(DAY, value):
            return date.fromisoformat(value)
    except ValueError:
        raise refused("is not a day of the calendar", "Correct the date.") from None
    raise refused("is not a date", "Write year, month and day: 2026-12-31.")


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise refused("is empty", "Write at least one.")
    return no_repeats(names)


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "pattern": DAY})]


class ExceptionSettings(Choice):
    """A temporary exception: a report's checks leave out the chosen secrets."""

    checks: Annotated[tuple[CheckName, ...], AfterValidator(_some), Field(json_schema_extra={"minItems": 1})]
    """The checks of `keyturn report` that leave them out."""
    owner: Line
    """The contact address of the person or team responsible."""
    until: Day
    """The last day of the exception, in UTC."""
    reason: Line
    """The reason, for readers of the report."""

    @property
    def ends(self) -> datetime:
        return datetime.combine(self.until + timedelta(days=1), time(), UTC)
