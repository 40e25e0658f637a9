"""Parse periods: days in UTC, with the last one included, or times with their zones."""

from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.evidence.facts import Period

DAY: Final = timedelta(days=1)
DATE: Final = len("2026-01-01")


def parse_period(since: str, until: str) -> Period:
    begins, ends = parse_day(since), parse_day(until, end=True)
    if begins >= ends:
        raise Invalid("read", "the period", "it ends before it begins", "Give the first day, and then the last")
    return Period(begins, ends)


def parse_day(text: str, *, end: bool = False) -> datetime:
    """Return the start of a day in UTC, or its ``end``; or a time. Raises Invalid for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo:
            return moment.astimezone(UTC)
        if len(text) == DATE:
            return moment.replace(tzinfo=UTC) + (DAY if end else timedelta(0))
    except (ValueError, OverflowError):
        pass
    hint = "Write a day such as 2026-01-01, or a moment with its zone: 2026-01-01T12:00:00Z"
    raise Invalid("read", "the period", f"{text[:40]!r} is no day", hint)


def last_month(now: datetime) -> Period:
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Period((first - DAY).replace(day=1), first)
