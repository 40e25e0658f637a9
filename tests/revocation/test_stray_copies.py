"""Stores are searched side by side: what one can't answer takes no check from another."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from keyturn.revocation.findings import stray_copies
from keyturn.revocation.incidents.incident import Step
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from tests.support.clock import Clock


def test_a_store_that_fails_meanwhile_takes_no_check_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace: Any = SimpleNamespace(open_store=lambda name: name, clock=Clock())
    status: Any = SimpleNamespace(secrets=[SimpleNamespace(path="a/b")])
    result = StepResult(workspace, Step.PROVE)

    def searched(*_: object) -> Iterator[Any]:
        result.check(CheckSubject.ELSEWHERE, "other", CheckAnswer.UNKNOWN, "it does not answer")
        return iter(())

    monkeypatch.setattr(stray_copies, "find_strays", searched)
    stray_copies.clear_strays(workspace, status, "one", result)
    assert {check.place: check.answer for check in result.checks} == {
        "other": CheckAnswer.UNKNOWN,
        "one": CheckAnswer.CLEAR,
    }
