"""The report's other facts: readers of the secrets, and ledger entries; without Prefect, for the command line."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import timedelta
from typing import Final

from keyturn.access_log.hub_log import hub_logs
from keyturn.access_log.readers import Readers, gather
from keyturn.access_log.trail.totals import TrailLog
from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.ports.access import AccessLog, SummedAccessLog
from keyturn.keys.own_login import own_principals
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import StoredLedger
from keyturn.revocation.incidents.incident import Incident, IncidentStatus
from keyturn.revocation.report import LedgerFacts
from keyturn.rotation.state.context import Workspace
from keyturn.settings.durations import parse
from keyturn.settings.trail import VARIABLE as TRAIL
from keyturn.settings.trail import trail_directory
from keyturn.wiring.ledger import environment_witnesses, make_checkpoint, reached_ledger

LOOK_BACK: Final = "KEYTURN_LOOK_BACK"
"""The variable with the look-back period for readers, counted from the trigger."""
LONG: Final = "30d"

WINDOW: Final = 4096
"""Ledger entries read at once, from its end."""


def readers_of(workspace: Workspace, status: IncidentStatus, env: Mapping[str, str] = os.environ) -> Readers:
    """The known readers of the secrets in the look-back period. Raises Invalid."""
    now = workspace.clock()
    incident = status.incident
    logs, own = list(logs_at_hand(workspace, env)), own_principals(workspace)
    return gather(logs, incident.paths, incident.triggered_at - look_back(env), incident.closed_at or now, own)


def logs_at_hand(workspace: Workspace, env: Mapping[str, str]) -> Iterator[AccessLog | SummedAccessLog]:
    """The access trail, which the ledger backs; else the hub's audit file.

    A configured trail that is missing is reported as failed.
    """
    trail = trail_directory(env) if env.get(TRAIL) else None
    if trail:
        yield TrailLog(trail)
    if not (trail and trail.is_dir()):
        yield from hub_logs(workspace.hub.mount, workspace.hub.mounts, env)


def look_back(env: Mapping[str, str]) -> timedelta:
    """The look-back period. Raises Invalid for anything but a duration."""
    try:
        return parse(env.get(LOOK_BACK) or LONG)
    except ValueError as error:
        raise Invalid("read", LOOK_BACK, f"it {error}", "Write a duration such as 30d") from None


def ledger_facts(workspace: Workspace, status: IncidentStatus, env: Mapping[str, str] = os.environ) -> LedgerFacts:
    """The incident's entries, and the newest checkpoint if it covers them; empty without a ledger."""
    try:
        with closing(reached_ledger(env, workspace.hub)) as ledger:
            return facts_in(ledger, status.incident)
    except KeyturnError:
        return LedgerFacts()


def sign_ledger(workspace: Workspace, env: Mapping[str, str] = os.environ) -> bool:
    """Make a checkpoint of the present ledger; False where this login may not sign.

    The notary's next checkpoint covers it then. Raises Rewritten, Unavailable.
    """
    with suppress(Denied), closing(reached_ledger(env, workspace.hub)) as ledger:
        make_checkpoint(workspace.hub, ledger, workspace.clock, environment_witnesses(env))
        return True
    return False


def facts_in(ledger: StoredLedger, incident: Incident) -> LedgerFacts:
    """The facts from an open ledger. Raises Unavailable."""
    sequences = tuple(sorted(entries_of(ledger, incident)))
    newest = ledger.newest()
    covers = bool(newest and sequences) and read_checkpoint(newest).size >= sequences[-1]
    return LedgerFacts(sequences, newest if covers else "")


def entries_of(ledger: StoredLedger, incident: Incident) -> Iterator[int]:
    """The numbers of the incident's entries, read from the end back to the trigger."""
    last, name = ledger.size(), incident.id
    while last > 0:
        first = max(1, last - WINDOW + 1)
        leaves = list(ledger.leaves(first, last))
        for sequence, leaf in leaves:
            if name.encode() in leaf and names_incident(parse_leaf(leaf).entry.note, name):
                yield sequence
        if not leaves or parse_leaf(leaves[0][1]).entry.time < incident.triggered_at:
            return
        last = first - 1


def names_incident(note: str, incident: str) -> bool:
    """Whether a note begins with the incident's name."""
    return note == incident or note.startswith((f"{incident}:", f"{incident};"))
