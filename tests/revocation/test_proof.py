"""The one definition of proof: the checks of an incident decide whether it is open, proven, or closed without proof."""

from dataclasses import replace

import pytest

from keyturn.revocation.incident import Incident, SecretProgress, Step, steps_missing
from keyturn.revocation.proof import Answer, Check, Subject, Verdict, decide, with_checks
from tests.revocation.incidents import proven, standing

EXPECTED = {
    Answer.CLEAR: Verdict.PROVEN,
    Answer.NONE: Verdict.PROVEN,
    Answer.REFUSED: Verdict.PROVEN,
    Answer.IRREVOCABLE: Verdict.CLOSED,
    Answer.UNRECORDED: Verdict.CLOSED,
    Answer.NOT_CHECKED: Verdict.CLOSED,
    Answer.REMAINING: Verdict.OPEN,
    Answer.UNKNOWN: Verdict.OPEN,
}


@pytest.mark.parametrize("answer", Answer)
def test_one_answer_among_clear_ones_decides(answer: Answer) -> None:
    checks = [Check(Subject.TARGET, "pg", Answer.CLEAR), Check(Subject.COPY, "aws:a", answer)]
    assert decide(checks, unfinished=False) is EXPECTED[answer]


def test_a_step_that_is_left_keeps_it_open_and_a_person_may_give_it_up() -> None:
    checks = [Check(Subject.HUB, "", Answer.CLEAR)]
    assert decide(checks, unfinished=True) is Verdict.OPEN
    assert decide(checks, unfinished=True, given_up=True) is Verdict.GIVEN_UP


def test_without_any_check_nothing_is_proven() -> None:
    assert decide([], unfinished=False) is Verdict.CLOSED


def test_a_later_answer_replaces_the_earlier_one_of_the_same_place() -> None:
    before = (Check(Subject.LEDGER, "", Answer.UNRECORDED), Check(Subject.COPY, "aws:a", Answer.CLEAR))
    after = with_checks(before, [Check(Subject.LEDGER, "", Answer.CLEAR)])
    assert [(check.subject, check.answer) for check in after] == [
        (Subject.LEDGER, Answer.CLEAR),
        (Subject.COPY, Answer.CLEAR),
    ]


def test_checks_survive_the_hub() -> None:
    secret, status = proven(), standing(proven(), checks=(Check(Subject.ACCESS, "", Answer.NONE),))
    assert SecretProgress.from_data(secret.to_data()) == secret
    assert Incident.from_data(status.incident.to_data(), 0) == status.incident
    assert (status.verdict, status.unproven) == (Verdict.PROVEN, ())


def test_an_entry_of_an_older_version_loads_and_is_not_called_proven() -> None:
    data = {name: value for name, value in proven().to_data().items() if name != "checks"}
    status = standing(SecretProgress.from_data(data))
    assert status.verdict is Verdict.CLOSED
    assert [words.rpartition(": ")[2] for words in status.unproven] == ["not checked", "not checked"]


def test_an_open_incident_of_an_older_version_is_proven_again() -> None:
    secret = replace(proven(), checks=())
    assert steps_missing(standing().incident.mode, secret) == (Step.PROVE,)
