"""A whole run, and how it ends."""

import json
from datetime import timedelta

import pytest

from keyturn.core.errors import NotFound, TerminalError, TransientError, Unavailable
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.outcome import Outcome, RunState, unsettled
from keyturn.rotation.report import outcome_data
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import Worker, remote, with_copy, worker
from tests.support.hooks import ELSEWHERE
from tests.support.lab import INTERVAL, Lab

APP = {"app": {"url": "http://localhost/app", "signing_key": "webhooks/app"}}
DOWN = Unavailable("write", "memory:x", "it is down", "Wait")


# A lease ends by the hub's own clock, which no test can move: it is rotated once.
@pytest.mark.parametrize(("kind", "times"), [("alternating", 3), ("single", 3), ("dynamic", 1), ("generated", 3)])
def test_a_secret_is_rotated_on_schedule_again_and_again(lab: Lab, kind: str, times: int) -> None:
    secret = with_copy(getattr(lab, kind)())
    opened = lab.open(secret)
    assert rotate(opened.workspace, secret.path).state is RunState.NOT_DUE
    seen = [lab.current(secret)]
    for _ in range(times):
        opened.clock.advance(INTERVAL)
        outcome = rotate(opened.workspace, secret.path)
        assert (outcome.state, unsettled(outcome)) == (RunState.ROTATED, None)
        assert kind == "generated" or lab.logs_in(lab.current(secret))
        assert retire(opened.workspace, secret.path).retired
        assert rotate(opened.workspace, secret.path).state is RunState.NOT_DUE
        seen.append(lab.current(secret))
    assert len({json.dumps(fields, sort_keys=True) for fields in seen}) == times + 1
    record = worker(lab, secret).record()
    assert [past.stage for past in record.history] == [Stage.RETIRED] * times
    assert opened.store.writes == times


def test_an_outcome_is_names_alone_and_fits_json(lab: Lab) -> None:
    secret = with_copy(lab.generated())
    outcome = rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    told = json.loads(json.dumps(outcome_data(outcome)))
    assert told["path"] == secret.path
    assert (told["state"], told["version"], len(told["fingerprint"])) == ("rotated", 2, 12)
    assert told["destinations"][0]["name"] == remote(secret)


def test_an_unknown_secret_is_named_with_the_one_likely_meant(lab: Lab) -> None:
    secret = lab.generated()
    with pytest.raises(NotFound, match=secret.path):
        rotate(lab.open(secret).workspace, secret.path + "x")


def test_a_rotation_held_elsewhere_is_left_to_its_holder(lab: Lab) -> None:
    secret = lab.generated()
    worker(lab, secret, ELSEWHERE).staged()
    outcome = rotate(worker(lab, secret).workspace, secret.path)
    assert outcome.state is RunState.HELD
    assert "another-host" in outcome.message


def test_a_run_that_died_after_promotion_is_settled_by_the_next(lab: Lab) -> None:
    secret = with_copy(lab.generated())
    opened = lab.open(secret)
    Worker(opened.workspace, secret.path).promoted()
    assert opened.store.describe(remote(secret)) is None
    outcome = rotate(opened.workspace, secret.path)
    assert (outcome.state, outcome.version, unsettled(outcome)) == (RunState.SETTLED, 2, None)
    assert opened.store.describe(remote(secret)) is not None


def test_an_old_credential_that_is_held_stops_the_next_scheduled_rotation(lab: Lab) -> None:
    secret = with_copy(lab.alternating(consumers=("app",)))
    opened = lab.open(secret, consumers=APP)
    opened.sender.silent["app"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(INTERVAL + timedelta(days=1))
    with pytest.raises(TerminalError, match=r"before version 2 \(.*\) is not retired: app has not acknowledged"):
        rotate(opened.workspace, secret.path)
    assert lab.logs_in(secret.first)
    opened.sender.silent.clear()
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED
    assert not lab.logs_in(secret.first) or lab.current(secret)["username"] == secret.users[0]


def test_a_rotation_that_ends_the_previous_credential_does_so_whatever_holds_it(lab: Lab) -> None:
    secret = with_copy(lab.alternating(grace="1d"))
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.store.refuses = DOWN
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE, end_previous=True)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 3)
    assert not lab.logs_in(secret.first)
    (past,) = worker(lab, secret).record().history
    assert past.note.startswith("waived: its grace ends")
    assert lab.logs_in(lab.current(secret))


def test_what_has_not_reached_everyone_is_named(lab: Lab) -> None:
    secret = with_copy(lab.generated(consumers=("app",)))
    opened = lab.open(secret, consumers=APP)
    opened.store.refuses = DOWN
    opened.sender.silent["app"] = Unavailable("notify", "app", "no answer", "Wait")
    error = unsettled(rotate(opened.workspace, secret.path, Trigger.FORCE))
    assert isinstance(error, TransientError)
    assert f"not in sync: memory:{remote(secret)}" in error.problem
    assert "not acknowledged by: app" in error.problem


def test_a_run_that_had_nothing_to_do_is_settled() -> None:
    assert unsettled(Outcome("any", RunState.NOT_DUE)) is None
