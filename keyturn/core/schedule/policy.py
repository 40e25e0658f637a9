"""Is a rotation due, when will it be, and is it late? Decided from the causes and from what holds them back."""

from dataclasses import dataclass
from datetime import datetime

from keyturn.core.schedule.causes import Cause, Hold, beyond_maximum_age, causes, compromised, dying
from keyturn.core.schedule.facts import Facts as Facts
from keyturn.core.schedule.facts import Schedule as Schedule
from keyturn.core.schedule.facts import Trigger as Trigger
from keyturn.core.schedule.facts import delay as delay
from keyturn.core.schedule.facts import due_at as due_at
from keyturn.core.schedule.windows import Freeze as Freeze
from keyturn.core.schedule.windows import Window as Window
from keyturn.core.schedule.windows import told


@dataclass(frozen=True)
class Reason:
    """Why a secret is rotated; ``alarm`` when it is later than the policy allows."""

    code: str
    message: str
    alarm: bool = False


@dataclass(frozen=True)
class Outlook:
    """When a secret is rotated next, and why: None when nothing makes it due.

    ``held_by`` names what moves it from when it comes due to ``at``, ``alarm`` says that it is late.
    """

    at: datetime | None
    reason: str
    held_by: str
    alarm: bool


@dataclass(frozen=True)
class Start:
    """When a cause is followed, what moves it there, and what doesn't, since waiting for that would be too late."""

    at: datetime
    held: tuple[str, ...] = ()
    despite: tuple[str, ...] = ()


def due(facts: Facts) -> Reason | None:
    """The first reason to rotate now, or None."""
    for cause in causes(facts):
        begins = start(cause, facts) if cause.since <= facts.now else Start(cause.since)
        if begins.at <= facts.now:
            return Reason(cause.code, said(cause, begins), cause.alarm or bool(begins.despite))
    return None


def outlook(facts: Facts) -> Outlook:
    """When and why the secret is rotated next, as far as the facts tell; at once where :func:`due` says so."""
    starts = [(start(cause, facts), cause) for cause in causes(facts)]
    if not starts:
        return Outlook(None, "nothing makes it due", "", alarm=False)
    begins, cause = min(starts, key=lambda pair: pair[0].at)
    return Outlook(begins.at, said(cause, begins), "; ".join(begins.held), late(facts) is not None)


def said(cause: Cause, begins: Start) -> str:
    """The cause's message, with what it does not wait for."""
    return f"{cause.message}; too late to wait for {', '.join(begins.despite)}" if begins.despite else cause.message


def alarm(facts: Facts) -> Reason | None:
    """Why the secret is late, and what holds it: whether or not a window or a freeze does."""
    cause = late(facts)
    if cause is None:
        return None
    held = outlook(facts).held_by
    return Reason(cause.code, f"{cause.message}; held by {held}" if held else cause.message, alarm=True)


def late(facts: Facts) -> Cause | None:
    """What should have been over by now."""
    overdue = (compromised(facts), dying(facts), beyond_maximum_age(facts))
    return next((cause for cause in overdue if cause and cause.since <= facts.now), None)


def start(cause: Cause, facts: Facts) -> Start:
    """The first moment from now on at which this cause is followed."""
    at = max(cause.since, facts.now)
    held: tuple[str, ...] = ()
    if Hold.PAUSE in cause.heeds and facts.waits_until and facts.waits_until > at:
        at = facts.waits_until
        held = (f"a pause until {told(at)}, since the rotation before was taken back",)
    free, holding = let_through(at, cause, facts)
    if cause.deadline and free >= cause.deadline:
        return Start(at, held, despite=holding)
    return Start(free, (*held, *holding))


def let_through(at: datetime, cause: Cause, facts: Facts) -> tuple[datetime, tuple[str, ...]]:
    """The first moment from ``at`` on that freezes and window leave free, and which of them don't leave ``at``."""
    held: dict[str, str] = {}
    window = facts.schedule.window if Hold.WINDOW in cause.heeds else None
    freezes = facts.freezes if Hold.FREEZE in cause.heeds else ()
    while True:
        if freeze := next((candidate for candidate in freezes if candidate.holds(at)), None):
            at = freeze.ends
            held[f"freeze {freeze.name}"] = f"the freeze {freeze.name} until {told(at)} ({freeze.reason})"
        elif window and not window.holds(at):
            at = window.next_opening(at)
            held["window"] = f"its window, which opens {told(at)}"
        else:
            return at, tuple(held.values())
