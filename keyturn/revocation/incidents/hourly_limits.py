"""Limits on new incidents per hour; others' incidents never delay a person's revocation of one secret.

Wide incidents, and those from Prefect, count for the workspace. A command for one secret counts for its login, and
proceeds without a readable count.
"""

from contextlib import suppress
from datetime import datetime
from typing import Final

from keyturn.core.actor import acting, past_rules
from keyturn.core.errors import Denied, Invalid, KeyturnError, TransientError
from keyturn.core.hourly_limits import Happening, free_again, with_happening
from keyturn.revocation.incidents.consent import FEW, is_begun
from keyturn.revocation.incidents.incident import Incident
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.hourly_limits import change_happenings, exceeded

KIND: Final = "incidents"


def insist_on_incident_pace(workspace: Workspace, wanted: Incident) -> None:
    """Count an incident before it is opened; an open one continues.

    Raises OverLimit before any change, and Invalid if the count can't be read.
    """
    if is_persons_own(wanted):
        with suppress(TransientError, Invalid, Denied):
            count_incident(workspace, wanted)
    else:
        count_incident(workspace, wanted)


def is_persons_own(wanted: Incident) -> bool:
    """Whether a command with a person's own login ends one secret."""
    process = acting.get()
    return len(wanted.paths) == 1 and not wanted.leases and not (process and process.by_others)


def count_incident(workspace: Workspace, wanted: Incident) -> None:
    """Count it against its limits. Raises OverLimit, Invalid, TransientError."""
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
    """The name that all logins of one person or service share."""
    try:
        identity = workspace.hub.identity()
    except KeyturnError:
        return "unnamed"
    return identity.entity_id or identity.name
