"""Incidents as the hub stores them, one entry each, and one for each secret."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from keyturn.core.compare_and_set import VersionedEntry, change_entry
from keyturn.core.errors import Invalid, NotFound
from keyturn.revocation.incidents.announcements import with_news
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode, SecretProgress
from keyturn.revocation.incidents.recorded import with_ledger_check
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import update_state

INCIDENTS: Final = "incidents"
OFFBOARDINGS: Final = "offboardings"
"""Where the hub stores offboardings (:mod:`keyturn.organisations.offboarding`); each has an incident."""
AT_ONCE: Final = 16

Change = Callable[[SecretProgress], SecretProgress]
Versioned = tuple[SecretProgress, int]
"""The progress of a secret, and the version of its entry; 0 without one."""


def new_incident_id(now: datetime) -> str:
    """A default name for an incident: ``INC-20261125-153012-7f3a``, in UTC."""
    return f"INC-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def find_incident(workspace: Workspace, incident: str) -> Incident | None:
    """An incident without its secrets, or None. Raises Invalid if malformed."""
    state = workspace.hub.read_state(_head(incident))
    if state is None:
        return None
    with _read(_head(incident)):
        return Incident.from_data(_opened(state.data), state.version)


def load_incident(workspace: Workspace, incident: str) -> Incident:
    """An incident without its secrets. Raises NotFound."""
    if current := find_incident(workspace, incident):
        return current
    hint = "See `keyturn incidents` for those there are"
    raise NotFound("find", f"incident {incident}", "the hub has none of that name", hint)


def load_status(workspace: Workspace, incident: str) -> IncidentStatus:
    """An incident with the progress of each secret, readable or not. Raises NotFound."""
    current = with_ledger_check(workspace, load_incident(workspace, incident))
    return IncidentStatus(current, load_secrets(workspace, current))


def load_secrets(workspace: Workspace, incident: Incident) -> tuple[SecretProgress, ...]:
    """The progress of each secret of an incident, readable or not."""
    return tuple(side_by_side(lambda path: progress_or_unread(workspace, incident, path), incident.paths, AT_ONCE))


def list_incidents(workspace: Workspace) -> list[Incident]:
    """Every incident, newest first, after those with an unreadable entry."""
    names = {entry.split("/")[1] for entry in workspace.hub.list_state(INCIDENTS) if entry.endswith("/head")}
    entries = side_by_side(lambda name: find_or_unread(workspace, name), sorted(names), AT_ONCE)
    return sorted(filter(None, entries), key=lambda incident: (bool(incident.unread), incident.opened_at), reverse=True)


def find_or_unread(workspace: Workspace, incident: str) -> Incident | None:
    """An incident; for an unreadable entry its name and the reason."""
    try:
        return find_incident(workspace, incident)
    except Invalid as error:
        now, problem = workspace.clock(), f"{error.problem}. {error.hint}"
        return Incident(
            incident, error.problem, Mode.REVOKE_ONLY, "", "", now, now, (), left=(problem,), unread=problem
        )


def progress_or_unread(workspace: Workspace, incident: Incident, path: str) -> SecretProgress:
    """A secret's progress, or the reason why it can't be read."""
    try:
        return load_progress(workspace, incident, path)
    except Invalid as error:
        return SecretProgress(path, "", left=(f"{error.problem}. {error.hint}",))


def list_open(workspace: Workspace) -> list[Incident]:
    """The open incidents."""
    return [incident for incident in list_incidents(workspace) if incident.closed_at is None]


def create_incident(workspace: Workspace, incident: Incident) -> Incident:
    """Write a new incident with its first message. Raises Conflict where the name exists."""
    incident = with_news(None, incident, workspace.clock())
    version = workspace.hub.write_state(_head(incident.id), _sealed(incident.to_data()), cas=0)
    return replace(incident, version=version)


def update_incident(
    workspace: Workspace, incident: str, lay: Callable[[Incident], Incident], *, first: Incident | None = None
) -> Incident:
    """Apply a change to an incident, ``first`` if read, during other writes too. News are sent. Raises NotFound."""

    def laid(current: Incident) -> Incident | None:
        changed = with_news(current, lay(current), workspace.clock())
        return None if changed == current else changed

    def write(current: Incident, changed: Incident) -> Incident:
        version = workspace.hub.write_state(_head(incident), _sealed(changed.to_data()), cas=current.version)
        return replace(changed, version=version)

    entry = VersionedEntry(f"incident {incident}", lambda: load_incident(workspace, incident), write)
    current, changed = change_entry(entry, laid, workspace.pause, first=first)
    if changed is None and first is not None:
        return update_incident(workspace, incident, lay)  # it may differ by now
    return changed or current


def load_progress(workspace: Workspace, incident: Incident, path: str) -> SecretProgress:
    """The progress of one secret; at first only the catalogue's facts."""
    return load_versioned(workspace, incident, path)[0]


def update_progress(
    workspace: Workspace, incident: Incident, path: str, lay: Change, *, first: Versioned | None = None
) -> SecretProgress:
    """Apply a change to one secret's progress, also during other writes; ``first`` is :func:`load_versioned`'s."""

    def to_data(progress: SecretProgress) -> dict[str, str]:
        return _sealed(progress.to_data())

    place = _secret(incident.id, path)
    return update_state(workspace, place, lambda: load_versioned(workspace, incident, path), lay, to_data, first=first)


def load_versioned(workspace: Workspace, incident: Incident, path: str) -> Versioned:
    """The same with the version of its entry."""
    state = workspace.hub.read_state(_secret(incident.id, path))
    if state:
        with _read(_secret(incident.id, path)):
            return SecretProgress.from_data(_opened(state.data)), state.version
    if path not in workspace.catalogue.secrets:
        return SecretProgress(path, ""), 0
    secret = workspace.secret(path)
    return SecretProgress(path, secret.rotation.strategy, secret.owner, str(secret.classification)), 0


@contextmanager
def _read(entry: str) -> Iterator[None]:
    """Replace an error about an entry's content with one that does not quote it."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = "Restore it from a backup of the hub, or remove it with its metadata and look after its secrets by hand"
        raise Invalid("read", entry, f"the entry {entry} of Keyturn's state is malformed", hint) from None


def _head(incident: str) -> str:
    return f"{INCIDENTS}/{incident}/head"


def _secret(incident: str, path: str) -> str:
    return f"{INCIDENTS}/{incident}/secrets/{path}"


def _sealed(data: dict[str, Any]) -> dict[str, str]:
    """One text, since OpenBao accepts at most 1,000 strings in a request."""
    return {"incident": json.dumps(data)}


def _opened(data: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(data["incident"]))
