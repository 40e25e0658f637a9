"""Periodic times: the last and next mark of an interval."""

from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Marks count from a midnight: hourly ones are full hours, daily ones midnights in UTC."""


def latest_mark(now: datetime, every: timedelta, offset: timedelta = timedelta(0)) -> datetime:
    """The latest mark not after ``now``, one per ``every``, shifted by ``offset``."""
    return now - (now - FIRST - offset) % every


def next_mark(now: datetime, every: timedelta) -> datetime:
    """The first mark after ``now``."""
    return latest_mark(now, every) + every


def mark_at_least(moment: datetime, every: timedelta) -> datetime:
    """The first mark not before ``moment``."""
    latest = latest_mark(moment, every)
    return latest if latest == moment else latest + every


def has_come_round(since: datetime | None, now: datetime, every: timedelta, offset: timedelta = timedelta(0)) -> bool:
    """Whether a mark is after ``since`` but not after ``now``; True without ``since``."""
    return since is None or latest_mark(now, every, offset) > since
