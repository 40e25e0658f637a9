"""The one definition of proof: the checks of an incident decide whether it is open, proven, or closed without proof."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from keyturn.revocation.incidents.incident import Incident, SecretProgress, Step, steps_missing
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject, IncidentVerdict, decide, with_checks
from keyturn.revocation.step_result import StepResult
from keyturn.revocation.verify import check_irrevocable
from tests.revocation.incidents import proven, standing

if TYPE_CHECKING:
    from keyturn.rotation.state.context import Workspace

EXPECTED = {
    CheckAnswer.CLEAR: IncidentVerdict.PROVEN,
    CheckAnswer.NONE: IncidentVerdict.PROVEN,
    CheckAnswer.REFUSED: IncidentVerdict.PROVEN,
    CheckAnswer.IRREVOCABLE: IncidentVerdict.CLOSED,
    CheckAnswer.UNRECORDED: IncidentVerdict.CLOSED,
    CheckAnswer.NOT_CHECKED: IncidentVerdict.CLOSED,
    CheckAnswer.REMAINING: IncidentVerdict.OPEN,
    CheckAnswer.UNKNOWN: IncidentVerdict.OPEN,
}


@pytest.mark.parametrize("answer", CheckAnswer)
def test_one_answer_among_clear_ones_decides(answer: CheckAnswer) -> None:
    checks = [Check(CheckSubject.TARGET, "pg", CheckAnswer.CLEAR), Check(CheckSubject.COPY, "aws:a", answer)]
    assert decide(checks, unfinished=False) is EXPECTED[answer]


def test_a_step_that_is_left_keeps_it_open_and_a_person_may_give_it_up() -> None:
    checks = [Check(CheckSubject.HUB, "", CheckAnswer.CLEAR)]
    assert decide(checks, unfinished=True) is IncidentVerdict.OPEN
    assert decide(checks, unfinished=True, given_up=True) is IncidentVerdict.GIVEN_UP


def test_without_any_check_nothing_is_proven() -> None:
    assert decide([], unfinished=False) is IncidentVerdict.CLOSED


def test_a_later_answer_replaces_the_earlier_one_of_the_same_place() -> None:
    copy = Check(CheckSubject.COPY, "aws:a", CheckAnswer.CLEAR)
    before = (Check(CheckSubject.LEDGER, "", CheckAnswer.UNRECORDED), copy)
    after = with_checks(before, [Check(CheckSubject.LEDGER, "", CheckAnswer.CLEAR)])
    assert [(check.subject, check.answer) for check in after] == [
        (CheckSubject.LEDGER, CheckAnswer.CLEAR),
        (CheckSubject.COPY, CheckAnswer.CLEAR),
    ]


@pytest.mark.parametrize("refused", [True, False])
def test_a_copy_that_stays_is_called_refused_only_with_what_that_means(refused: bool) -> None:
    stays = "version 1f can still be read by its id, until AWS deletes it"
    seen = datetime(2026, 1, 2, tzinfo=UTC) if refused else None
    progress = replace(proven(), remains=(f"aws:a: {stays}",), refused_at=seen)
    result = StepResult(cast("Workspace", None), Step.PROVE)
    for place in ("aws:a", "aws:b"):
        check_irrevocable(progress, CheckSubject.COPY, place, result)
    copy, other = result.checks
    assert other.answer is CheckAnswer.CLEAR
    if refused:
        assert (copy.answer, copy.said) == (
            CheckAnswer.REFUSED,
            f"the target refuses its value; {stays}",
        )
    else:
        assert (copy.answer, copy.said) == (CheckAnswer.IRREVOCABLE, stays)


def test_checks_survive_the_hub() -> None:
    secret, status = proven(), standing(proven(), checks=(Check(CheckSubject.ACCESS, "", CheckAnswer.NONE),))
    assert SecretProgress.from_data(secret.to_data()) == secret
    assert Incident.from_data(status.incident.to_data(), 0) == status.incident
    assert (status.verdict, status.unproven) == (IncidentVerdict.PROVEN, ())


def test_an_entry_of_an_older_version_loads_and_is_not_called_proven() -> None:
    data = {name: value for name, value in proven().to_data().items() if name != "checks"}
    status = standing(SecretProgress.from_data(data))
    assert status.verdict is IncidentVerdict.CLOSED
    assert [words.rpartition(": ")[2] for words in status.unproven] == ["not checked", "not checked"]


def test_an_open_incident_of_an_older_version_is_proven_again() -> None:
    secret = replace(proven(), checks=())
    assert steps_missing(standing().incident.mode, secret) == (Step.PROVE,)
