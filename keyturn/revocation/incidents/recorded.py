"""Whether an incident is in the ledger: nothing of it waits in the hub for a process that can write there."""

from dataclasses import replace

from keyturn.core.errors import KeyturnError
from keyturn.ledger.storage.waiting import record_waiting, waiting_in_hub
from keyturn.revocation.incidents.incident import Incident
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject, with_checks
from keyturn.rotation.state.context import Workspace


def record_what_waits(workspace: Workspace, incident: str = "") -> str:
    """Append to the ledger what an incident, or any, could not write there before; why something waits still."""
    try:
        record_waiting(workspace.hub, workspace.ledger, incident)
    except KeyturnError as error:
        return str(error)
    return ""


def check_recorded(workspace: Workspace, incident: str) -> Check:
    """Whether the ledger has all that was done so far, after another try to write what waits."""
    why = record_what_waits(workspace, incident)
    try:
        return ledger_check(len(waiting_in_hub(workspace.hub, incident)), why)
    except KeyturnError as error:
        return Check(CheckSubject.LEDGER, "", CheckAnswer.UNKNOWN, error.problem, error.hint)


def with_ledger_check(workspace: Workspace, incident: Incident) -> Incident:
    """The incident with what the hub says now of its entries; as it was kept where this login may not look."""
    try:
        count = len(waiting_in_hub(workspace.hub, incident.id))
    except KeyturnError:
        return incident
    if count or any(check.subject is CheckSubject.LEDGER for check in incident.checks):
        return replace(incident, checks=with_checks(incident.checks, [ledger_check(count)]))
    return incident


def ledger_check(count: int, why: str = "") -> Check:
    """The answer where so many events of an incident wait."""
    if not count:
        return Check(CheckSubject.LEDGER, "", CheckAnswer.CLEAR)
    words = f"{count} events wait in the hub{f': {why}' if why else ''}"
    remedy = "keep-ledger writes them, or `keyturn revoke --resume ID` where the ledger can be written"
    return Check(CheckSubject.LEDGER, "", CheckAnswer.UNRECORDED, words, remedy)
