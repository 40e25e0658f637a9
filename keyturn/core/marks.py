"""Moments that come round: when something did last, and at which mark what comes until then is gathered."""

from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Marks are counted from a midnight, so those of an hour are full hours, and those of a day midnights in UTC."""


def latest_mark(now: datetime, every: timedelta, offset: timedelta = timedelta(0)) -> datetime:
    """The latest mark that is not after ``now``: one ``every`` so long, each so much later by ``offset``."""
    return now - (now - FIRST - offset) % every


def next_mark(now: datetime, every: timedelta) -> datetime:
    """The first mark after ``now``."""
    return latest_mark(now, every) + every


def mark_at_least(moment: datetime, every: timedelta) -> datetime:
    """The first mark that is not before ``moment``."""
    latest = latest_mark(moment, every)
    return latest if latest == moment else latest + every


def has_come_round(since: datetime | None, now: datetime, every: timedelta, offset: timedelta = timedelta(0)) -> bool:
    """Whether a mark lies after ``since`` and not after ``now``; where nobody knows since when, yes."""
    return since is None or latest_mark(now, every, offset) > since
