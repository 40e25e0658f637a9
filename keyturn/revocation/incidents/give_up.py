"""Giving up an unproven incident: a person closes it with work left."""

from dataclasses import replace

from keyturn.core.actor import incident_action
from keyturn.core.errors import Invalid
from keyturn.core.rotation_record import Record, Stage
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode
from keyturn.revocation.incidents.store import load_incident, load_status, update_incident
from keyturn.revocation.lock import cut_token, newest_version
from keyturn.rotation.state import record_store
from keyturn.rotation.state.actions import Deed
from keyturn.rotation.state.approvals import insist_on_approval
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import actor_of, record_action


@incident_action
def give_up_incident(workspace: Workspace, incident: str, reason: str) -> IncidentStatus:
    """Close an open incident with work left, never as proven, and release its secrets.

    Raises Invalid without a reason or for a closed one, and NotFound. A failed release keeps the incident open for
    another call.
    """
    current = load_incident(workspace, incident)
    if current.closed_at:
        stands = load_status(workspace, incident).verdict
        raise Invalid("give up", f"incident {incident}", f"it is {stands}", "Nothing is to be done")
    if not reason.strip():
        hint = "State who checked, and what they saw: it is kept in the report and the ledger"
        raise Invalid("give up", f"incident {incident}", "no reason is given", hint)
    if workspace.approvals.give_up:
        about = {"incident": incident, "reason": reason.strip()}
        insist_on_approval(workspace, Deed("give up", about, f"incident {incident}", incident))
    with record_action(workspace, "give up incident", note=f"{incident}: {reason.strip()}"):
        for path in current.paths:
            with record_action(workspace, "let go", path, note=incident):
                release_secret(workspace, current, path)
        changes = {"given_up": reason.strip(), "given_up_by": actor_of(workspace), "closed_at": workspace.clock()}
        update_incident(workspace, incident, lambda latest: latest if latest.closed_at else replace(latest, **changes))  # type: ignore[arg-type]
    return load_status(workspace, incident)


def release_secret(workspace: Workspace, incident: Incident, path: str) -> None:
    """Allow rotations of a secret again that the incident holds or freezes.

    The old credential stays dead. With REVOKE_ONLY, only a person's rotation makes a new one.
    """

    def released(record: Record) -> Record | None:
        over, rotation = record, record.rotation
        if rotation and rotation.stage is Stage.CUTTING and rotation.token == cut_token(incident.id, path):
            last = newest_version(workspace, path)
            over = record.having(rotation.to(Stage.CUT, closed_at=workspace.clock(), base_version=last))
        if record.frozen == incident.id and incident.mode is Mode.REPLACE:
            over = replace(over, frozen="")
        return None if over == record else over

    record_store.update_record(workspace, path, released)
