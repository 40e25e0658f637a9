"""The facts that decide when a secret is rotated, and its scheduled time."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.core.schedule.cron import Cron
from keyturn.core.schedule.windows import Freeze, Window


class Trigger(StrEnum):
    """What requested the rotation.

    ``schedule`` rotates what is due. ``force`` (an operator) and ``compromise`` (a suspicion) rotate now. ``event`` is
    an external system: it rotates as soon as window and freezes allow.
    """

    SCHEDULE = "schedule"
    FORCE = "force"
    EVENT = "event"
    COMPROMISE = "compromise"


@dataclass(frozen=True)
class Schedule:
    """When a secret is rotated: after an interval, by cron, or otherwise before it expires.

    ``jitter`` spreads secrets that come due together over that period. A secret replaced ``by_hand`` is never due but
    may be late.
    """

    interval: timedelta | None = None
    jitter: timedelta = timedelta(0)
    maximum_age: timedelta | None = None
    window: Window | None = None
    cron: Cron | None = None
    by_hand: bool = False


@dataclass(frozen=True)
class Facts:
    """All facts for the decision; ``rotated_at`` is None without a version.

    ``expires_at`` is CURRENT's expiry. ``wanted_at`` (an event), ``suspected_at`` (a suspicion) and ``renew_at`` (the
    issuer's suggestion) refer to CURRENT. A reverted rotation waits until ``waits_until``.
    """

    path: str
    schedule: Schedule
    now: datetime
    rotated_at: datetime | None
    trigger: Trigger = Trigger.SCHEDULE
    expires_at: datetime | None = None
    wanted_at: datetime | None = None
    suspected_at: datetime | None = None
    waits_until: datetime | None = None
    renew_at: datetime | None = None
    freezes: Sequence[Freeze] = ()


def due_at(facts: Facts) -> datetime | None:
    """Return when age or cron makes the secret due; None without a version, or if neither does."""
    schedule, since = facts.schedule, facts.rotated_at
    if since is None:
        return None
    tick = schedule.cron.next(since) if schedule.cron else None
    at = since + schedule.interval if schedule.interval else tick
    return at + delay(facts.path, schedule.jitter) if at else None


def delay(path: str, jitter: timedelta) -> timedelta:
    """The secret's share of ``jitter``, constant for a path."""
    share = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64
    return jitter * share
