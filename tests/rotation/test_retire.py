"""After promotion: notices, what delays the old credential's end, and its end."""

from contextlib import closing
from datetime import timedelta

import pytest

from keyturn.core.errors import Superseded, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.ports.conductor import conduct
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.rotation import steps
from keyturn.rotation.outcome import RunState
from keyturn.rotation.protocol import tell_everyone
from keyturn.rotation.retire import retire
from keyturn.rotation.rollout import Acknowledgement, acknowledge, notify_consumer
from keyturn.rotation.run import rotate
from keyturn.rotation.strategy_verbs import Work
from tests.rotation.helpers import Worker, remote, with_copy, worker
from tests.support.hooks import Once, eventually, raising
from tests.support.lab import Declared, Lab, Opened

DOWN = Unavailable("notify", "trainer", "no answer within 5 s", "See whether it runs")
CONSUMERS = {
    name: {"url": f"http://localhost/{name}", "signing_key": f"webhooks/{name}"} for name in ("api", "trainer")
}


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating(grace="1h", consumers=("api", "trainer")))


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret, consumers=CONSUMERS)


def run_of(opened: Opened, secret: Declared) -> Worker:
    return Worker(opened.workspace, secret.path)


# --- telling -----------------------------------------------------------------------------------------------


def test_every_consumer_is_told_once_and_that_is_kept(opened: Opened, secret: Declared) -> None:
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert outcome.consumers == (Acknowledgement("api"), Acknowledgement("trainer"))
    assert sorted(opened.sender.told) == [("api", secret.path, 2), ("trainer", secret.path, 2)]
    again = rotate(opened.workspace, secret.path)
    assert (again.state, again.consumers) == (RunState.SETTLED, outcome.consumers)
    assert len(opened.sender.told) == 2
    rotation = run_of(opened, secret).record().retiring
    assert rotation is not None
    assert rotation.acknowledged == ("api", "trainer")


def test_a_silent_consumer_stops_no_other_and_is_told_again(opened: Opened, secret: Declared) -> None:
    opened.sender.silent["api"] = DOWN
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert outcome.consumers == (
        Acknowledgement("api", str(DOWN), kind=type(DOWN).__name__),
        Acknowledgement("trainer"),
    )
    opened.sender.silent.clear()
    assert rotate(opened.workspace, secret.path).consumers == (Acknowledgement("api"), Acknowledgement("trainer"))
    assert [consumer for consumer, *_ in opened.sender.told] == ["trainer", "api"]


def test_nobody_is_told_of_what_is_not_promoted(opened: Opened, secret: Declared) -> None:
    attempt = run_of(opened, secret).verified()
    assert (
        notify_consumer(opened.workspace, secret.path, attempt.rotation, "api").error
        == "the rotation is not promoted yet"
    )
    assert opened.sender.told == []


def test_acknowledgements_of_two_workers_at_once_are_both_kept(opened: Opened, secret: Declared) -> None:
    run = run_of(opened, secret)
    token = run.promoted().rotation.token
    between = run.hooking(
        "hub", write_state=Once(lambda: acknowledge(opened.workspace, secret.path, token, ["trainer"]))
    )
    acknowledge(between.workspace, secret.path, token, ["api"])
    rotation = run.record().retiring
    assert rotation is not None
    assert rotation.acknowledged == ("api", "trainer")


def test_an_acknowledgement_of_a_rotation_that_is_over_is_dropped(opened: Opened, secret: Declared) -> None:
    run = run_of(opened, secret)
    old = run.promoted().rotation
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    newer = run.promoted().rotation
    acknowledge(opened.workspace, secret.path, old.token, ["api"])
    assert run.record().retiring == newer


# --- retiring ----------------------------------------------------------------------------------------------


def held_by(opened: Opened, secret: Declared, waive: Waive = Waive.NOTHING) -> str:
    retirement = retire(opened.workspace, secret.path, waive)
    assert not retirement.retired
    return "; ".join(retirement.held_by)


def test_grace_holds_the_old_credential_to_the_second(lab: Lab, opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(timedelta(hours=1, microseconds=-1))
    over = opened.clock.now + timedelta(microseconds=1)
    assert held_by(opened, secret) == f"its grace ends {over:%Y-%m-%d %H:%M:%S} UTC"
    assert lab.logs_in(secret.first)
    opened.clock.advance(timedelta(microseconds=1))
    assert retire(opened.workspace, secret.path).retired
    assert not lab.logs_in(secret.first)
    assert lab.logs_in(lab.current(secret))


def test_a_consumer_that_has_not_acknowledged_holds_it(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(timedelta(days=3))
    assert held_by(opened, secret) == "trainer has not acknowledged version 2"
    assert lab.logs_in(secret.first)


def test_a_silent_consumer_is_told_again_at_retirement(opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.sender.silent.clear()
    opened.clock.advance(timedelta(hours=1))
    assert retire(opened.workspace, secret.path).retired


def test_a_store_that_is_behind_holds_it(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.store.refuses = Unavailable("write", "memory:x", "it is down", "Wait")
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.store.down, opened.store.refuses = opened.store.refuses, None
    opened.clock.advance(timedelta(days=3))
    assert held_by(opened, secret) == f"memory:{remote(secret)} is not in sync: {opened.store.down.text}"
    opened.store.down = None
    assert held_by(opened, secret) == f"memory:{remote(secret)} is not in sync: stale"
    assert lab.logs_in(secret.first)
    rotate(opened.workspace, secret.path)
    # Its readers have the new value only now: the grace begins here.
    assert held_by(opened, secret).startswith("its grace ends ")
    opened.clock.advance(timedelta(hours=1))
    assert retire(opened.workspace, secret.path).retired


def test_waiving_the_grace_waives_nothing_else(opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert held_by(opened, secret, Waive.GRACE) == "trainer has not acknowledged version 2"
    opened.sender.silent.clear()
    assert retire(opened.workspace, secret.path, Waive.GRACE).retired


def test_waiving_everything_is_written_down(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert retire(opened.workspace, secret.path, Waive.EVERYTHING).retired
    (past,) = run_of(opened, secret).record().history
    assert past.note.startswith("waived: its grace ends ")
    assert past.note.endswith("; trainer has not acknowledged version 2")
    assert not lab.logs_in(secret.first)


def test_an_open_session_of_the_old_user_holds_it(lab: Lab, opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    with closing(lab.connect(secret.first)):
        assert held_by(opened, secret, Waive.GRACE) == f"pg:{secret.users[0]} has 1 open sessions"
        assert lab.logs_in(secret.first)
    assert eventually(lambda: retire(opened.workspace, secret.path, Waive.GRACE).retired)
    assert not lab.logs_in(secret.first)


def test_a_target_that_cant_be_asked_for_sessions_holds_it(opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    run = run_of(opened, secret).hooking("strategy", in_use=raising(DOWN))
    (said,) = retire(run.workspace, secret.path, Waive.GRACE).held_by
    assert said == f"its use is unknown: {DOWN}"


def test_the_target_is_not_asked_while_anything_else_holds_it(opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    run = run_of(opened, secret).hooking("strategy", in_use=raising(AssertionError()))
    assert "its grace ends" in retire(run.workspace, secret.path).held_by[0]


def test_the_end_of_max_grace_forces_it_and_says_so(lab: Lab) -> None:
    secret = with_copy(lab.alternating(grace="1h", max_grace="2h", consumers=("api", "trainer")))
    opened = lab.open(secret, consumers=CONSUMERS)
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(timedelta(hours=2, microseconds=-1))
    assert held_by(opened, secret) == "trainer has not acknowledged version 2"
    opened.clock.advance(timedelta(microseconds=1))
    assert retire(opened.workspace, secret.path).retired
    (past,) = run_of(opened, secret).record().history
    assert past.note == "max_grace is over: trainer has not acknowledged version 2"
    assert not lab.logs_in(secret.first)


def test_a_suspected_credential_ends_with_the_rotation_once_everyone_has_the_new_one(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert not lab.logs_in(secret.first)
    assert lab.logs_in(lab.current(secret))


def test_a_suspected_credential_has_no_grace_at_later_retirements_either(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    opened.sender.silent["trainer"] = DOWN
    rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert held_by(opened, secret) == "trainer has not acknowledged version 2"
    opened.sender.silent.clear()
    assert retire(opened.workspace, secret.path).retired


def test_retiring_nothing_is_quiet(opened: Opened, secret: Declared) -> None:
    assert not retire(opened.workspace, secret.path).retired
    run_of(opened, secret).verified()
    assert not retire(opened.workspace, secret.path, Waive.EVERYTHING).retired
    assert run_of(opened, secret).record().open is not None


def test_retiring_twice_is_quiet(opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert retire(opened.workspace, secret.path, Waive.EVERYTHING).retired
    assert not retire(opened.workspace, secret.path, Waive.EVERYTHING).retired
    assert [past.stage for past in run_of(opened, secret).record().history] == [Stage.RETIRED]


def test_a_retirement_that_comes_late_leaves_the_next_rotation_alone(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    run = run_of(opened, secret)
    run.promoted()

    def next_one() -> None:
        retire(opened.workspace, secret.path, Waive.EVERYTHING)
        run.installed()

    late = run.hooking("strategy", retire=Once(next_one))
    with pytest.raises(Superseded):
        retire(late.workspace, secret.path, Waive.EVERYTHING)
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))


def test_a_retirement_overtaken_while_it_tells_consumers_leaves_the_next_rotation_alone(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    run = run_of(opened, secret)
    first = run.promoted()
    calls = iter(range(100))

    def overtaken(path: str) -> None:
        if path.startswith("rotations/") and next(calls) == 1:
            retire(opened.workspace, secret.path, Waive.EVERYTHING)
            run.installed()

    retirement = retire(run.hooking("hub", read_state=overtaken).workspace, secret.path)
    assert not retirement.retired
    open_now = run.record().open
    assert open_now is not None
    assert open_now.token != first.rotation.token
    steps.promote(opened.workspace, steps.resume(opened.workspace, secret.path, open_now.token))
    assert lab.logs_in(lab.current(secret))


def test_a_retirement_of_one_rotation_spares_the_next_ones_grace(lab: Lab, opened: Opened, secret: Declared) -> None:
    run = run_of(opened, secret)
    old = run.promoted().rotation.token
    assert retire(opened.workspace, secret.path, Waive.EVERYTHING, old).retired
    run.promoted()
    assert not retire(opened.workspace, secret.path, Waive.EVERYTHING, old).retired
    assert run.record().retiring is not None


def test_a_notice_goes_to_the_consumers_of_the_catalogue_alone(lab: Lab) -> None:
    secret = lab.generated()
    run = worker(lab, secret)
    telling = tell_everyone(run.workspace.secret(secret.path), run.promoted().rotation, in_step=False)
    assert conduct(telling, Work(run.workspace, secret.path).take) == ([], "")
