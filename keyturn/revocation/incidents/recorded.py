"""Whether an incident is completely in the ledger, with nothing waiting in the hub."""

from dataclasses import replace

from keyturn.core.errors import KeyturnError
from keyturn.ledger.storage.waiting import record_waiting, waiting_in_hub
from keyturn.revocation.incidents.incident import Incident
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject, with_checks
from keyturn.rotation.state.context import Workspace


def record_what_waits(workspace: Workspace, incident: str = "") -> str:
    """Append waiting entries to the ledger, of one or all incidents; return the error text, else empty."""
    try:
        record_waiting(workspace.hub, workspace.ledger, incident)
    except KeyturnError as error:
        return str(error)
    return ""


def check_recorded(workspace: Workspace, incident: str) -> Check:
    """Check the ledger for all actions so far, after a retry."""
    why = record_what_waits(workspace, incident)
    try:
        return ledger_check(len(waiting_in_hub(workspace.hub, incident)), why)
    except KeyturnError as error:
        return Check(CheckSubject.LEDGER, "", CheckAnswer.UNKNOWN, error.problem, error.hint)


def with_ledger_check(workspace: Workspace, incident: Incident) -> Incident:
    """The incident with the ledger's present state, where this login may read it."""
    try:
        count = len(waiting_in_hub(workspace.hub, incident.id))
    except KeyturnError:
        return incident
    if count or any(check.subject is CheckSubject.LEDGER for check in incident.checks):
        return replace(incident, checks=with_checks(incident.checks, [ledger_check(count)]))
    return incident


def ledger_check(count: int, why: str = "") -> Check:
    """The answer for this number of waiting entries."""
    if not count:
        return Check(CheckSubject.LEDGER, "", CheckAnswer.CLEAR)
    words = f"{count} events wait in the hub{f': {why}' if why else ''}"
    remedy = "keep-ledger writes them, or `keyturn revoke --resume ID` where the ledger can be written"
    return Check(CheckSubject.LEDGER, "", CheckAnswer.UNRECORDED, words, remedy)
