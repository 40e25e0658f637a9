"""What an incident's report tells besides the incident: who read the secrets, and where it stands in the ledger.

It needs no Prefect: the command line makes reports too.
"""

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
"""How far back readers are looked for, from the moment when somebody asked for the revocation."""
LONG: Final = "30d"

WINDOW: Final = 4096
"""Entries of the ledger that are read at once, from its end on."""


def readers_of(workspace: Workspace, status: IncidentStatus, env: Mapping[str, str] = os.environ) -> Readers:
    """Who read the incident's secrets in the look-back period, as far as the logs at hand tell. Raises Invalid."""
    now = workspace.clock()
    incident = status.incident
    logs, own = list(logs_at_hand(workspace, env)), own_principals(workspace)
    return gather(logs, incident.paths, incident.triggered_at - look_back(env), incident.closed_at or now, own)


def logs_at_hand(workspace: Workspace, env: Mapping[str, str]) -> Iterator[AccessLog | SummedAccessLog]:
    """The access trail, which has every source and which the ledger vouches for; else the hub's audit file.

    One that is named and is not there is told as failed, so that it is not taken for silence.
    """
    trail = trail_directory(env) if env.get(TRAIL) else None
    if trail:
        yield TrailLog(trail)
    if not (trail and trail.is_dir()):
        yield from hub_logs(workspace.hub.mount, workspace.hub.mounts, env)


def look_back(env: Mapping[str, str]) -> timedelta:
    """How far back. Raises Invalid for what is no duration."""
    try:
        return parse(env.get(LOOK_BACK) or LONG)
    except ValueError as error:
        raise Invalid("read", LOOK_BACK, f"it {error}", "Write a duration such as 30d") from None


def ledger_facts(workspace: Workspace, status: IncidentStatus, env: Mapping[str, str] = os.environ) -> LedgerFacts:
    """The incident's own entries, and the newest checkpoint where it covers them; nothing of a ledger that is away."""
    try:
        with closing(reached_ledger(env, workspace.hub)) as ledger:
            return facts_in(ledger, status.incident)
    except KeyturnError:
        return LedgerFacts()


def sign_ledger(workspace: Workspace, env: Mapping[str, str] = os.environ) -> bool:
    """A checkpoint of the ledger as it is now, so that an incident is covered by one; whether this login may sign.

    Where it may not, the notary's next one covers it. Raises Rewritten, Unavailable.
    """
    with suppress(Denied), closing(reached_ledger(env, workspace.hub)) as ledger:
        make_checkpoint(workspace.hub, ledger, workspace.clock, environment_witnesses(env))
        return True
    return False


def facts_in(ledger: StoredLedger, incident: Incident) -> LedgerFacts:
    """The same of an open ledger. Raises Unavailable."""
    sequences = tuple(sorted(entries_of(ledger, incident)))
    newest = ledger.newest()
    covers = bool(newest and sequences) and read_checkpoint(newest).size >= sequences[-1]
    return LedgerFacts(sequences, newest if covers else "")


def entries_of(ledger: StoredLedger, incident: Incident) -> Iterator[int]:
    """The numbers of the entries whose note names the incident, read from the end until it was not there yet."""
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
