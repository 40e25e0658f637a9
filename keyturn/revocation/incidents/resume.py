"""For runs that come back to an incident: what it was about, and whether people are to be reminded of it."""

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
"""How often people are told of an incident that stays open."""

AT_ONCE: Final = 3
"""So many tries in vain are made at every run."""
FIRST: Final = timedelta(minutes=9)
LONGEST: Final = timedelta(minutes=59)
"""After those the pauses double, from two turns of the schedule to an hour."""


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""An incident's name is part of a path in the hub, and the name of its report's files."""


def select_again(workspace: Workspace, incident: str, selector: Selector) -> Selection:
    """What an incident is about, where the same was asked for before; else what ``selector`` chooses now.

    What was found by a fingerprint or a lease may be gone by then. Raises Invalid for a name that no incident can
    have, and what :func:`select_secrets` raises.
    """
    if not NAME.fullmatch(incident):
        hint = "Use letters, digits, dots, dashes and underscores, 64 at most, such as INC-1"
        raise Invalid("open", "the incident", "its name can't be one", hint)
    earlier = find_incident(workspace, incident)
    if earlier and earlier.selector == selector.words:
        return Selection(earlier.paths, earlier.leases)
    return select_secrets(workspace, selector)


def is_turn(status: IncidentStatus, now: datetime) -> bool:
    """Whether to try again what is left: at each run while a credential may work still, else less and less often."""
    incident = status.incident
    may_work = any(Step.CUT not in secret.done for secret in status.secrets)
    if may_work or incident.tries < AT_ONCE or incident.tried_at is None:
        return True
    pause = min(FIRST * 2 ** (incident.tries - AT_ONCE), LONGEST)
    return not timedelta(0) <= now - incident.tried_at < pause


def record_try(workspace: Workspace, before: IncidentStatus, after: IncidentStatus) -> None:
    """Keep that finish-incidents has tried, and whether it came further."""
    if after.open:
        tries = before.incident.tries + 1 if same_status(before, after) else 0
        update_incident(
            workspace, after.incident.id, lambda incident: replace(incident, tries=tries, tried_at=workspace.clock())
        )


def same_status(before: IncidentStatus, after: IncidentStatus) -> bool:
    """Whether an incident stands as it stood."""
    return how_far(before) == how_far(after)


def how_far(status: IncidentStatus) -> tuple[object, ...]:
    """What is done and what is left, of all its secrets."""
    return status.open, status.incident.left, [(secret.path, secret.done, secret.left) for secret in status.secrets]


def claim_reminder(workspace: Workspace, incident: str) -> bool:
    """Whether to remind people of it now: true for one of all who ask within an hour, and never once it is closed."""
    now, claims = workspace.clock(), []

    def note(current: Incident) -> Incident:
        passed = now - (current.reminded_at or current.opened_at)  # less than none where a clock was ahead
        claims.append(current.closed_at is None and not timedelta(0) <= passed < REMINDED)
        return replace(current, reminded_at=now) if claims[-1] else current

    update_incident(workspace, incident, note)
    return claims[-1]
