"""Moments in options: ``2026-11-03``, ``2026-11-03T14:00+01:00``, or ``36h`` for 36 hours ago."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from keyturn.core.errors import Invalid
from keyturn.settings import durations

FromOption = Annotated[
    str, typer.Option("--from", metavar="TIME", help="From 2026-11-03 on, or 2026-11-03T14:00+01:00, or 36h ago.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="TIME", help="Until then, a day to its end; now by default.")]


def parse_moment(text: str, option: str, now: datetime, *, end: bool = False) -> datetime:
    """Parse a moment, in UTC unless it has a zone. A day means its beginning or ``end``. Raises Invalid."""
    with suppress(ValueError):
        return now - durations.parse(text)
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        day = len(text) <= len("2026-11-03")
        return moment + timedelta(days=1, microseconds=-1) if day and end else moment
    except (ValueError, OverflowError):
        hint = "Write a day such as 2026-11-03, a moment such as 2026-11-03T14:00+01:00, or 36h for so long ago"
        raise Invalid("read", option, f"{text!r} is no moment", hint) from None
