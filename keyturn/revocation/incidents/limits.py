"""How many incidents may be begun within an hour, and why a person's own revocation of one secret is in nobody's way.

A flood through Prefect, or of wide incidents, is bounded for the whole workspace. One secret that a command ends is
counted for its login alone: whatever others do, it goes at once, and where the count can't be read, too.
"""

from contextlib import suppress
from datetime import datetime
from typing import Final

from keyturn.core.actor import acting, past_rules
from keyturn.core.errors import Denied, Invalid, KeyturnError, TransientError
from keyturn.core.limits import Happening, free_again, with_happening
from keyturn.revocation.incidents.consent import FEW, is_begun
from keyturn.revocation.incidents.incident import Incident
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.hourly_limits import change_happenings, exceeded

KIND: Final = "incidents"


def insist_on_incident_pace(workspace: Workspace, wanted: Incident) -> None:
    """Count an incident before it is opened. Raises OverLimit where there were too many, and nothing is changed.

    One that is gone on with is not held back. Raises Invalid where what was counted can't be read.
    """
    if is_persons_own(wanted):
        with suppress(TransientError, Invalid, Denied):
            count_incident(workspace, wanted)
    else:
        count_incident(workspace, wanted)


def is_persons_own(wanted: Incident) -> bool:
    """Whether a command, with a login of whoever runs it, ends one secret."""
    process = acting.get()
    return len(wanted.paths) == 1 and not wanted.leases and not (process and process.by_others)


def count_incident(workspace: Workspace, wanted: Incident) -> None:
    """Count it against what holds for it. Raises OverLimit, Invalid, TransientError."""
    own, limits = is_persons_own(wanted), workspace.limits
    by = login_of(workspace) if own else ""
    paths = wanted.paths if len(wanted.paths) <= FEW else ()
    new, full = Happening(workspace.hub_now(), 1, by, paths), list[tuple[datetime, int, str]]()

    def laid(counting: list[Happening]) -> list[Happening]:
        full.clear()
        mine = [event for event in counting if event.by == by]
        most = limits.incidents_of_one_login if own else limits.incidents
        whose = "incidents over single secrets were begun by this login" if own else "incidents were begun"
        if again := free_again(mine, most, new.at):
            full.append((again, most, whose))
        for path in paths:
            same = [event for event in mine if path in event.paths]
            if again := free_again(same, limits.incidents_of_one_secret, new.at):
                full.append((again, limits.incidents_of_one_secret, f"incidents over {path} were begun"))
        return counting if full and not past_rules.get().over_limit else with_happening(counting, new)

    change_happenings(workspace, KIND, laid)
    if full and not is_begun(workspace, wanted):
        again, most, what = max(full)
        exceeded(workspace, wanted.selector, most, what, again)


def login_of(workspace: Workspace) -> str:
    """What is the same for all logins of one person or service."""
    try:
        identity = workspace.hub.identity()
    except KeyturnError:
        return "unnamed"
    return identity.entity_id or identity.name
