"""Continuing an incident: its earlier selection, the next retry, and reminders."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Step
from keyturn.revocation.incidents.store import find_incident, update_incident
from keyturn.revocation.selector import Selection, Selector, select_secrets
from keyturn.rotation.state.context import Workspace

REMINDED: Final = timedelta(hours=1)
"""How often people are reminded of an open incident."""

AT_ONCE: Final = 3
"""Failed tries in a row before retries slow down."""
FIRST: Final = timedelta(minutes=9)
LONGEST: Final = timedelta(minutes=59)
"""Later pauses double, from two scheduled runs to an hour."""


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""An incident's name is part of paths in the hub and of file names."""


def select_again(workspace: Workspace, incident: str, selector: Selector) -> Selection:
    """The stored selection of an incident with the same selector, else a new one.

    Raises Invalid for a malformed name, and as :func:`select_secrets`.
    """
    if not NAME.fullmatch(incident):
        hint = "Use letters, digits, dots, dashes and underscores, 64 at most, such as INC-1"
        raise Invalid("open", "the incident", "its name can't be one", hint)
    earlier = find_incident(workspace, incident)
    if earlier and earlier.selector == selector.words:
        return Selection(earlier.paths, earlier.leases)
    return select_secrets(workspace, selector)


def is_turn(status: IncidentStatus, now: datetime) -> bool:
    """Whether to retry now: always while a credential may work, else ever less often."""
    incident = status.incident
    may_work = any(Step.CUT not in secret.done for secret in status.secrets)
    if may_work or incident.tries < AT_ONCE or incident.tried_at is None:
        return True
    pause = min(FIRST * 2 ** (incident.tries - AT_ONCE), LONGEST)
    return not timedelta(0) <= now - incident.tried_at < pause


def record_try(workspace: Workspace, before: IncidentStatus, after: IncidentStatus) -> None:
    """Record a try of finish-incidents, and whether it made progress."""
    if after.open:
        tries = before.incident.tries + 1 if same_status(before, after) else 0
        update_incident(
            workspace, after.incident.id, lambda incident: replace(incident, tries=tries, tried_at=workspace.clock())
        )


def same_status(before: IncidentStatus, after: IncidentStatus) -> bool:
    """Whether nothing has changed."""
    return how_far(before) == how_far(after)


def how_far(status: IncidentStatus) -> tuple[object, ...]:
    """The progress and open work of all secrets."""
    return status.open, status.incident.left, [(secret.path, secret.done, secret.left) for secret in status.secrets]


def claim_reminder(workspace: Workspace, incident: str) -> bool:
    """Whether to remind people now: once per hour, and never when closed."""
    now, claims = workspace.clock(), []

    def note(current: Incident) -> Incident:
        passed = now - (current.reminded_at or current.opened_at)  # negative if a clock was ahead
        claims.append(current.closed_at is None and not timedelta(0) <= passed < REMINDED)
        return replace(current, reminded_at=now) if claims[-1] else current

    update_incident(workspace, incident, note)
    return claims[-1]
