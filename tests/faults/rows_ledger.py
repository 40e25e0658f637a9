"""What happens to the ledger while something is revoked or rotated: it is reported, and nothing is missing or twice."""

import os
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest

from keyturn.core.schedule.due import Trigger
from keyturn.ledger.entries import parse_tail
from keyturn.ledger.storage.waiting import record_waiting, waiting_in_hub
from keyturn.revocation.incidents.incident import IncidentStatus
from keyturn.revocation.incidents.store import load_status
from keyturn.revocation.proof import CheckAnswer, CheckSubject, IncidentVerdict
from keyturn.wiring.ledger import configured_ledger, named_ledger, spooled_ledger
from tests.faults.doings import doing
from tests.faults.operators import Case
from tests.support.hooks import Hooked, raising

ELSEWHERE: Final = {"KEYTURN_LEDGER": "/proc/nowhere/ledger.db"}
"""The environment of a machine that can't open the ledger."""


def revoke_elsewhere(case: Case) -> IncidentStatus:
    """Revoke the secret on a machine that can't write the ledger."""
    here = case.workspace
    ledger = spooled_ledger(ELSEWHERE, here.hub, lambda entries, why: raise_lost(why))
    case.workspace = replace(here, ledger=ledger)
    status = case.revoke()
    case.workspace = here
    return status


def raise_lost(why: str) -> None:
    raise AssertionError(f"entries are lost: {why}")


def waiting_tails(case: Case, incident: str) -> list[str]:
    """The entries of an incident that wait in the hub."""
    states = [case.workspace.hub.read_state(place) for place in waiting_in_hub(case.workspace.hub, incident)]
    return [tail for state in states if state for tail in str(state.data["entries"]).split("\n")]


def assert_recorded_once(tails: list[str]) -> None:
    """The ledger has each of these entries, and none of them twice."""
    with closing(configured_ledger(os.environ)) as ledger:
        stored = [tail.decode() for _, tail in ledger.tails()]
    assert tails
    assert [tail for tail in set(tails) if stored.count(tail) != 1] == []


def ledger_answer(status: IncidentStatus) -> CheckAnswer:
    (answer,) = [check.answer for check in status.incident.checks if check.subject is CheckSubject.LEDGER]
    return answer


@doing("revoke on a machine that can't write the ledger")
def revoked_elsewhere(case: Case) -> None:
    status = revoke_elsewhere(case)
    incident = status.incident.id
    assert ledger_answer(status) is CheckAnswer.UNRECORDED
    assert status.verdict is not IncidentVerdict.PROVEN
    tails = waiting_tails(case, incident)
    assert {"open incident", "cut", "close incident"} <= {parse_tail(tail.encode()).action for tail in tails}
    with closing(named_ledger(os.environ, case.workspace.hub)) as ledger:
        assert record_waiting(case.workspace.hub, ledger, incident) > 3
    assert_recorded_once(tails)
    after = load_status(case.workspace, incident)
    assert ledger_answer(after) is CheckAnswer.CLEAR
    assert not after.open
    case.assert_right()


@doing("kill the process that writes an incident's waiting entries before it removes them from the hub")
def killed_between_ledger_and_hub(case: Case) -> None:
    incident = revoke_elsewhere(case).incident.id
    tails = waiting_tails(case, incident)
    killed = Hooked(case.workspace.hub, delete_state=raising(KeyboardInterrupt()))
    with closing(named_ledger(os.environ, case.workspace.hub)) as ledger:
        with pytest.raises(KeyboardInterrupt):
            record_waiting(killed, ledger, incident)
        assert waiting_tails(case, incident) == tails
        record_waiting(case.workspace.hub, ledger, incident)
    assert waiting_in_hub(case.workspace.hub, incident) == []
    assert_recorded_once(tails)


@doing("set `KEYTURN_LEDGER` to another file on a worker, a rotation comes due")
def another_ledger_on_a_worker(case: Case) -> None:
    before, here = case.current(), case.workspace
    other = {"KEYTURN_LEDGER": f"{os.environ['KEYTURN_LEDGER']}.other"}
    case.workspace = replace(here, ledger=named_ledger(other, here.hub))
    said = case.rotate(Trigger.FORCE)
    assert "it was never signed, and the hub names the one in the file" in said
    assert case.current() == before
    case.workspace = here
    assert case.rotate(end_previous=True) == "", case.said
    case.assert_right()
