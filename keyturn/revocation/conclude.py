"""The end of a try at an incident: leases, temporary access, undeclared copies, verdict."""

from dataclasses import replace
from typing import Final

from keyturn.core.actor import incident_action
from keyturn.revocation.findings.stray_copies import clear_strays
from keyturn.revocation.given_access import end_given, prove_given
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Step, steps_missing
from keyturn.revocation.incidents.recorded import check_recorded, with_ledger_check
from keyturn.revocation.incidents.store import load_incident, load_secrets, update_incident
from keyturn.revocation.left_out import add_missed
from keyturn.revocation.proof import CheckAnswer, CheckSubject, IncidentVerdict, decide
from keyturn.revocation.step_result import StepResult, is_repeated
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action

AT_ONCE: Final = 16
"""Stores that are searched in parallel."""


@incident_action
def conclude_incident(workspace: Workspace, incident: str) -> IncidentStatus:
    """End leases and access, remove undeclared copies, and close the incident if nothing is left.

    Raises NotFound, and TransientError where the hub can't be asked.
    """
    concluded, result = load_incident(workspace, incident), StepResult(workspace, Step.PROVE)
    for lease in concluded.leases:
        with result.checking(CheckSubject.ACCESS, lease):
            result.add_done(lease, end_lease(workspace, lease))
            result.check(CheckSubject.ACCESS, lease, CheckAnswer.CLEAR)
    prove_given(workspace, concluded, end_given(workspace, concluded, result), result)
    add_missed(workspace, concluded, result)
    status = IncidentStatus(concluded, load_secrets(workspace, concluded))
    side_by_side(
        lambda store: clear_strays(workspace, status, store, result), sorted(workspace.catalogue.stores), AT_ONCE
    )
    recorded = check_recorded(workspace, incident)
    result.check(recorded.subject, recorded.place, recorded.answer, recorded.said, recorded.remedy)
    unfinished = bool(result.left) or any(steps_missing(concluded.mode, secret) for secret in status.secrets)
    checks = (*result.checks, *(check for secret in status.secrets for check in secret.checks))
    over = decide(checks, unfinished=unfinished) is not IncidentVerdict.OPEN
    closed_at = workspace.clock() if over else None

    def lay(current: Incident) -> Incident:
        fresh = [event for event in result.events if not is_repeated(event, current.events)]
        left = tuple(dict.fromkeys(result.left))
        closed = current.closed_at or closed_at
        events, checked = (*current.events, *fresh), tuple(result.checks)
        return replace(current, events=events, left=left, closed_at=closed, checks=checked)

    with record_action(workspace, "close incident" if over else "look at incident", note=incident) as doing:
        changed = update_incident(workspace, incident, lay, first=concluded)
        doing.note = "; ".join((incident, *result.left))
    return IncidentStatus(with_ledger_check(workspace, changed), status.secrets)


def end_lease(workspace: Workspace, lease: str) -> str:
    """End a lease that was chosen by its prefix. Absent is success."""
    with record_action(workspace, "revoke lease", place=lease):
        workspace.hub.revoke_lease(lease)
    return "the lease is ended"
