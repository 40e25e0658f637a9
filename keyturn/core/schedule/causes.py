"""What makes a rotation due: a list of small pure checks, each returning a cause or None."""

from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto
from typing import Final

from keyturn.core.schedule.facts import Facts, Trigger, due_at
from keyturn.core.schedule.renewal_info import YOUNG
from keyturn.core.schedule.windows import told

RENEWED_AFTER: Final = 2 / 3
"""Fraction of its life after which an expiring credential is replaced."""
LATE_AFTER: Final = 9 / 10
"""Fraction of its life after which it is late: no window or freeze may delay it further."""


class Hold(Flag):
    """What may delay a rotation."""

    NOTHING = 0
    PAUSE = auto()
    FREEZE = auto()
    WINDOW = auto()
    ALL = PAUSE | FREEZE | WINDOW


@dataclass(frozen=True)
class Cause:
    """What makes a rotation due from ``since``, and which holds it respects.

    Holds by window and freezes are ignored if they would last until ``deadline``.
    """

    code: str
    message: str
    since: datetime
    heeds: Hold = Hold.ALL
    deadline: datetime | None = None
    alarm: bool = False


def forced(facts: Facts) -> Cause | None:
    """A person requested it."""
    if facts.trigger is not Trigger.FORCE:
        return None
    return Cause("Forced", "asked for by an operator", facts.now, Hold.NOTHING)


def compromised(facts: Facts) -> Cause | None:
    """It may be exposed: no window and no freeze delays it."""
    since, at_once = facts.suspected_at, facts.trigger is Trigger.COMPROMISE
    if since is None and not at_once:
        return None
    message = f"others may know it since {told(since or facts.now)}"
    return Cause("Compromised", message, since or facts.now, Hold.NOTHING if at_once else Hold.PAUSE, alarm=True)


def never_made(facts: Facts) -> Cause | None:
    """No version exists. Freezes apply, since the account may already be in use."""
    if facts.rotated_at is not None:
        return None
    return Cause("NeverMade", "the secret has no version yet", facts.now, Hold.PAUSE | Hold.FREEZE)


def beyond_maximum_age(facts: Facts) -> Cause | None:
    """Older than the policy's maximum: no window delays it."""
    limit, since = facts.schedule.maximum_age, facts.rotated_at
    if limit is None or since is None:
        return None
    message = f"rotated {told(since)}, beyond its maximum age {describe_moment(since + limit, facts)}"
    return Cause("BeyondMaximumAge", message, since + limit, Hold.PAUSE | Hold.FREEZE, alarm=True)


def expiring(facts: Facts) -> Cause | None:
    """Two thirds of its life are over, or later if interval or cron is due later but before its end.

    The issuer's suggestion counts instead if it is before the last tenth, but not while the credential is young. Holds
    that would last until the last tenth are ignored.
    """
    since, ends, planned = facts.rotated_at, facts.expires_at, due_at(facts)
    if since is None or ends is None:
        return None
    renewed = since + (ends - since) * RENEWED_AFTER
    if planned is not None and renewed < planned < ends:
        renewed = planned
    late, suggestion = since + (ends - since) * LATE_AFTER, ""
    if facts.renew_at is not None and facts.renew_at < late:
        renewed = max(facts.renew_at, since + min(YOUNG, (ends - since) / 10))
        suggestion = ", as its authority suggests"
    message = f"its life ends {told(ends)}{suggestion}, due {describe_moment(renewed, facts)}"
    return Cause("Expiring", message, renewed, deadline=max(renewed, late))


def wanted(facts: Facts) -> Cause | None:
    """An external system requested it."""
    since = facts.wanted_at
    if since is None and facts.trigger is Trigger.EVENT:
        since = facts.now
    return Cause("Wanted", f"asked for by an event {told(since)}", since) if since else None


def too_old(facts: Facts) -> Cause | None:
    """Its interval is over."""
    at = due_at(facts) if facts.schedule.interval else None
    if at is None:
        return None
    return Cause("TooOld", f"{age(facts)}due {describe_moment(at, facts)}", at)


def scheduled(facts: Facts) -> Cause | None:
    """Its cron time has passed."""
    at = due_at(facts) if facts.schedule.cron else None
    if at is None:
        return None
    return Cause("Scheduled", f"{age(facts)}due by its cron {describe_moment(at, facts)}", at)


CAUSES: Final = (forced, compromised, never_made, beyond_maximum_age, wanted, too_old, scheduled, expiring)
"""In order of priority as the stated reason."""

ASKED_FOR: Final = (forced, compromised, wanted)
"""Requested causes: the only ones if a person replaces the secret, so that the refusal informs the requester."""


def causes(facts: Facts) -> list[Cause]:
    """Return everything that makes, or will make, this secret due."""
    return [cause for find in (ASKED_FOR if facts.schedule.by_hand else CAUSES) if (cause := find(facts))]


def dying(facts: Facts) -> Cause | None:
    """The last tenth of its life has begun, or it has ended."""
    cause, ends = expiring(facts), facts.expires_at
    if cause is None or cause.deadline is None or ends is None:
        return None
    if ends <= facts.now:
        return Cause("Expired", f"its life ended {told(ends)}", ends)
    return Cause("Expiring", f"its life ends {told(ends)}", cause.deadline)


def age(facts: Facts) -> str:
    """The beginning of a message."""
    return f"rotated {told(facts.rotated_at)}, " if facts.rotated_at else ""


def describe_moment(at: datetime, facts: Facts) -> str:
    """Describe a past or future time."""
    return f"since {told(at)}" if at <= facts.now else f"from {told(at)} on"
