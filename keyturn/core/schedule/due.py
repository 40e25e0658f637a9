"""Whether a rotation is due, when it will be, and whether it is late."""

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
    """Why a secret is rotated; ``alarm`` if later than the policy allows."""

    code: str
    message: str
    alarm: bool = False


@dataclass(frozen=True)
class Outlook:
    """When and why a secret is rotated next; None if nothing makes it due.

    ``held_by`` names what delays it from its due time to ``at``. ``alarm`` means that it is late.
    """

    at: datetime | None
    reason: str
    held_by: str
    alarm: bool


@dataclass(frozen=True)
class Start:
    """When a cause takes effect, the holds that delay it, and those ignored to avoid lateness."""

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
    """When and why the secret is rotated next; now if :func:`due` gives a reason."""
    starts = [(start(cause, facts), cause) for cause in causes(facts)]
    if not starts:
        return Outlook(None, "nothing makes it due", "", alarm=False)
    begins, cause = min(starts, key=lambda pair: pair[0].at)
    return Outlook(begins.at, said(cause, begins), "; ".join(begins.held), late(facts) is not None)


def said(cause: Cause, begins: Start) -> str:
    """The cause's message, with the holds that it ignores."""
    return f"{cause.message}; too late to wait for {', '.join(begins.despite)}" if begins.despite else cause.message


def alarm(facts: Facts) -> Reason | None:
    """Return why the secret is late and what holds it, if anything."""
    cause = late(facts)
    if cause is None:
        return None
    held = outlook(facts).held_by
    return Reason(cause.code, f"{cause.message}; held by {held}" if held else cause.message, alarm=True)


def late(facts: Facts) -> Cause | None:
    """The cause that is overdue."""
    overdue = (compromised(facts), dying(facts), beyond_maximum_age(facts))
    return next((cause for cause in overdue if cause and cause.since <= facts.now), None)


def start(cause: Cause, facts: Facts) -> Start:
    """The first time from now on at which this cause takes effect."""
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
    """The first time from ``at`` without a freeze and within the window, and the holds that delay it."""
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
