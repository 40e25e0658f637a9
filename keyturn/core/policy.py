"""Is a rotation due? A readable list of small pure checks, each giving a reason or nothing."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Trigger(StrEnum):
    """What asked for the rotation."""

    SCHEDULE = "schedule"
    FORCE = "force"


@dataclass(frozen=True)
class Window:
    """When rotations may start, in local time; one that ends before it begins crosses midnight.

    ``days`` are those on which the window begins, Monday is 0.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` (with a time zone) lies inside; the end is outside."""
        local = now.astimezone(ZoneInfo(self.zone))
        clock = local.time().replace(tzinfo=None)
        if self.begin <= self.end:
            return local.weekday() in self.days and self.begin <= clock < self.end
        began_today = local.weekday() in self.days and clock >= self.begin
        began_yesterday = (local.weekday() - 1) % 7 in self.days and clock < self.end
        return began_today or began_yesterday


@dataclass(frozen=True)
class Schedule:
    """How often a secret is rotated. ``jitter`` spreads secrets of one interval over that much time."""

    interval: timedelta
    jitter: timedelta = timedelta(0)
    maximum_age: timedelta | None = None
    window: Window | None = None


@dataclass(frozen=True)
class Facts:
    """All that decides; ``rotated_at`` is None for a secret that has no version yet."""

    path: str
    schedule: Schedule
    now: datetime
    rotated_at: datetime | None
    trigger: Trigger = Trigger.SCHEDULE


@dataclass(frozen=True)
class Reason:
    """Why a secret is rotated; ``alarm`` when it is later than the policy allows."""

    code: str
    message: str
    alarm: bool = False


def delay(path: str, jitter: timedelta) -> timedelta:
    """The secret's own share of ``jitter``, always the same for the same path."""
    share = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64
    return jitter * share


def due_at(facts: Facts) -> datetime | None:
    """When the secret's age makes it due; None when it already is, for want of a version."""
    if facts.rotated_at is None:
        return None
    return facts.rotated_at + facts.schedule.interval + delay(facts.path, facts.schedule.jitter)


def forced(facts: Facts) -> Reason | None:
    """Somebody asked for it."""
    return Reason("Forced", "asked for by an operator") if facts.trigger is Trigger.FORCE else None


def never_made(facts: Facts) -> Reason | None:
    """There is no version yet."""
    return Reason("NeverMade", "the secret has no version yet") if facts.rotated_at is None else None


def beyond_maximum_age(facts: Facts) -> Reason | None:
    """Older than the policy allows at all: no window holds it back."""
    limit, since = facts.schedule.maximum_age, facts.rotated_at
    if limit is None or since is None or facts.now - since < limit:
        return None
    return Reason("BeyondMaximumAge", f"rotated {since:%Y-%m-%d %H:%M}, beyond its maximum age", alarm=True)


def too_old(facts: Facts) -> Reason | None:
    """Its interval is over, and the window is open."""
    at, window = due_at(facts), facts.schedule.window
    if at is None or facts.now < at or (window and not window.holds(facts.now)):
        return None
    return Reason("TooOld", f"rotated {facts.rotated_at:%Y-%m-%d %H:%M}, due since {at:%Y-%m-%d %H:%M}")


CHECKS = (forced, never_made, beyond_maximum_age, too_old)


def due(facts: Facts) -> Reason | None:
    """The first reason to rotate now, or None."""
    return next((reason for check in CHECKS if (reason := check(facts))), None)
