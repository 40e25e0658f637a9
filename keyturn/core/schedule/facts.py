"""What decides when a secret is rotated, and the moment that its schedule names."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.core.schedule.cron import Cron
from keyturn.core.schedule.windows import Freeze, Window


class Trigger(StrEnum):
    """What asked for the rotation.

    ``schedule`` rotates what is due, ``force`` is an operator and ``compromise`` a suspicion: both rotate now.
    ``event`` is somebody's system: it rotates as soon as window and freezes allow.
    """

    SCHEDULE = "schedule"
    FORCE = "force"
    EVENT = "event"
    COMPROMISE = "compromise"


@dataclass(frozen=True)
class Schedule:
    """When a secret is rotated: after an interval, at the times of a cron, or, with neither, before it ends.

    ``jitter`` spreads secrets that come due together over that much time. One that is replaced ``by_hand`` is never
    due; it may be late.
    """

    interval: timedelta | None = None
    jitter: timedelta = timedelta(0)
    maximum_age: timedelta | None = None
    window: Window | None = None
    cron: Cron | None = None
    by_hand: bool = False


@dataclass(frozen=True)
class Facts:
    """All that decides; ``rotated_at`` is None for a secret that has no version yet.

    ``expires_at`` is when CURRENT ends by itself. ``wanted_at`` (an event), ``suspected_at`` (a suspicion) and
    ``renew_at`` (a suggestion by whoever has signed it) were said of the credential that is CURRENT. Until
    ``waits_until`` a rotation that was taken back is not tried again.
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
    """When age or cron makes the secret due; None without a version, or when neither does."""
    schedule, since = facts.schedule, facts.rotated_at
    if since is None:
        return None
    tick = schedule.cron.next(since) if schedule.cron else None
    at = since + schedule.interval if schedule.interval else tick
    return at + delay(facts.path, schedule.jitter) if at else None


def delay(path: str, jitter: timedelta) -> timedelta:
    """The secret's own share of ``jitter``, always the same for the same path."""
    share = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64
    return jitter * share
