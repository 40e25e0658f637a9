"""A target that refuses: another candidate is made, three times at most, and then a person has to look."""

import pytest

from keyturn.core.errors import CandidateRejected, CertainRefusal, Unavailable, Unprivileged
from keyturn.core.ports.strategies import Change
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from tests.rotation.helpers import Worker, worker
from tests.support.hooks import Once, dead_holder, raising
from tests.support.lab import INTERVAL, Declared, Lab

REFUSED = CandidateRejected("log in as", "pg:user", "the target refuses the login", "Run it again")


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


def due(lab: Lab, secret: Declared, **hooks: object) -> Worker:
    """A run on a secret whose interval is over."""
    opened = lab.open(secret)
    opened.clock.advance(INTERVAL)
    return (
        Worker(opened.workspace, secret.path).hooking("strategy", **hooks)
        if hooks
        else Worker(opened.workspace, secret.path)
    )


@pytest.mark.parametrize("step", ["install", "verify"])
def test_a_candidate_that_is_refused_once_makes_way_for_another(lab: Lab, secret: Declared, step: str) -> None:
    seen: list[str] = []

    def refuse_first(change: Change) -> None:
        seen.append(change.candidate["password"].reveal())
        if len(seen) == 1:
            raise REFUSED

    run = due(lab, secret, **{step: refuse_first})
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert len(set(seen)) == 2
    assert lab.current(secret)["password"] == seen[-1]
    assert lab.logs_in(lab.current(secret))
    assert [past.refused for past in run.record().history] == [True]


def test_the_schedule_stops_after_three_and_says_so_without_asking_the_target_again(lab: Lab, secret: Declared) -> None:
    asked: list[Change] = []

    def refuse(change: Change) -> None:
        asked.append(change)
        raise REFUSED

    run = due(lab, secret, verify=refuse)
    with pytest.raises(CandidateRejected, match="the target refuses the login"):
        rotate(run.workspace, secret.path)
    for _ in range(2):
        with pytest.raises(
            CandidateRejected, match=f"refused 3 candidates in a row.*keyturn rotate {secret.path} --now"
        ):
            rotate(run.workspace, secret.path)
    assert len(asked) == 3
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)


def test_a_person_may_try_again_as_often_as_he_likes(lab: Lab, secret: Declared) -> None:
    run = due(lab, secret, verify=raising(REFUSED))
    for _ in range(2):
        with pytest.raises(CandidateRejected):
            rotate(run.workspace, secret.path, Trigger.FORCE)
    assert [past.stage for past in run.record().history] == [Stage.ABANDONED] * 6
    assert rotate(worker(lab, secret).workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert run.record().refusals == 0


def test_refusals_before_a_crash_count(lab: Lab, secret: Declared) -> None:
    run = due(lab, secret, verify=raising(REFUSED), mint=Once(lambda: None))
    stopped = run.hooking("strategy", mint=Fourth())
    with pytest.raises(Unavailable):
        rotate(stopped.workspace, secret.path)
    assert run.record().refusals == 2
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path)
    assert run.record().refusals == 3


class Fourth:
    """The third mint fails, as if the process had died there."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls == 3:
            raise Unavailable("mint", "here", "the power is gone", "Wait")


@pytest.mark.parametrize("step", ["install", "verify"])
def test_any_other_failure_keeps_the_candidate(lab: Lab, secret: Declared, step: str) -> None:
    down = Unavailable("log in as", "pg:user", "the server does not answer", "Wait")
    run = due(lab, secret, **{step: raising(down)})
    for _ in range(4):
        with pytest.raises(Unavailable):
            rotate(run.workspace, secret.path)
    candidate = run.record().candidate
    assert candidate is not None
    assert run.record().history == ()
    assert rotate(worker(lab, secret).workspace, secret.path).state is RunState.ROTATED
    assert lab.current(secret)["password"] == candidate["password"].reveal()


def test_a_candidate_that_current_made_useless_is_not_counted_as_refused(lab: Lab, secret: Declared) -> None:
    worker(lab, secret, dead_holder()).staged()
    lab.user(secret.users[1], secret.owner)
    lab.hub.write(secret.path, SecretFields({**secret.first, "username": secret.users[1]}), cas=1)
    run = worker(lab, secret)
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert [(past.stage, past.refused) for past in run.record().history] == [(Stage.ABANDONED, False)]


def test_a_refusal_that_is_certain_makes_one_candidate_and_one_error_with_the_remedy(
    lab: Lab, secret: Declared
) -> None:
    lab.sql(f"CREATE TABLE {secret.owner}_t (n int); GRANT SELECT ON {secret.owner}_t TO {secret.users[0]}")
    run = due(lab, secret)
    grant = f'GRANT SELECT ON TABLE {secret.owner}_t TO "{secret.owner}"'
    with pytest.raises(Unprivileged, match=f"it lacks: SELECT on {secret.owner}_t. .*{grant}"):
        rotate(run.workspace, secret.path)
    for _ in range(2):
        with pytest.raises(CertainRefusal, match=f"would refuse every candidate like the last: .*{grant}") as refused:
            rotate(run.workspace, secret.path)
        assert f"keyturn rotate {secret.path} --now" in refused.value.hint
    assert [past.stage for past in run.record().history] == [Stage.ABANDONED]
    assert lab.logs_in(secret.first)
    lab.sql(grant)
    assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))
