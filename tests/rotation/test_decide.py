"""What makes a secret due, from the hub's metadata."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import CandidateRejected, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import EXPIRES_AT, SUSPECTED_AT
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.decide import decide, sight
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import Worker, worker
from tests.support.hooks import After, raising
from tests.support.lab import INTERVAL, Declared, Lab, Opened


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.generated(maximum_age="40d")


def frozen(opened: Opened, **changes: Any) -> Opened:
    """The same Keyturn in a freeze from yesterday to the day after tomorrow."""
    from keyturn.catalogue.freezes import FreezeSettings

    day, now = timedelta(days=1), opened.clock.now
    times = {"from": f"{now - day:%Y-%m-%dT%H:%M}", "to": f"{now + 2 * day:%Y-%m-%dT%H:%M}"}
    freeze = FreezeSettings.model_validate({**times, "timezone": "UTC", "reason": "closing the year", **changes})
    catalogue = opened.workspace.catalogue.model_copy(update={"freezes": {"year-end": freeze}})
    return dataclasses.replace(opened, workspace=dataclasses.replace(opened.workspace, catalogue=catalogue))


def test_a_freeze_holds_what_is_due_and_the_retirement_too(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(INTERVAL)
    held = frozen(opened)
    assert decide(held.workspace, secret.path, Trigger.SCHEDULE).reason is None
    (said,) = retire(held.workspace, secret.path, Waive.GRACE).held_by
    assert said.startswith("the freeze year-end ends ")
    opened.clock.advance(timedelta(days=3))
    assert retire(held.workspace, secret.path).retired
    assert rotate(held.workspace, secret.path).state is RunState.ROTATED


def test_a_freeze_of_other_secrets_holds_nothing(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.clock.advance(INTERVAL)
    held = frozen(opened, paths=["prod/**"])
    assert decide(held.workspace, secret.path, Trigger.SCHEDULE).reason is not None


def test_what_is_too_old_in_a_freeze_is_an_alarm_and_nothing_more(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=41))
    seen = sight(frozen(opened).workspace, secret.path)
    assert not seen.work
    assert "beyond its maximum age" in seen.alarm
    assert "year-end" in seen.alarm


def test_an_event_in_a_freeze_is_not_forgotten(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    assert rotate(frozen(opened).workspace, secret.path, Trigger.EVENT).state is RunState.NOT_DUE
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED
    retire(opened.workspace, secret.path)
    assert rotate(opened.workspace, secret.path).state is RunState.NOT_DUE


def test_a_suspicion_outlives_the_run_that_was_told_of_it(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    lost = Unavailable("write", "hub", "the power is gone", "Wait")
    with pytest.raises(Unavailable):
        rotate(run.hooking("hub", write_state=raising(lost)).workspace, secret.path, Trigger.COMPROMISE)
    assert run.record().rotation is None
    decision = decide(run.workspace, secret.path, Trigger.SCHEDULE)
    assert decision.urgent
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert not decide(run.workspace, secret.path, Trigger.SCHEDULE).urgent


def test_a_suspicion_holds_by_the_credential_and_not_by_clocks(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    retire(opened.workspace, secret.path)
    slow = dataclasses.replace(opened.workspace, clock=lambda: opened.clock.now - timedelta(minutes=10))
    fast = dataclasses.replace(opened.workspace, clock=lambda: opened.clock.now + timedelta(minutes=10))
    assert decide(slow, secret.path, Trigger.COMPROMISE).reason is not None
    assert decide(fast, secret.path, Trigger.SCHEDULE).urgent
    decide(fast, secret.path, Trigger.COMPROMISE)
    assert rotate(slow, secret.path).state is RunState.ROTATED
    assert not decide(fast, secret.path, Trigger.SCHEDULE).urgent


def test_a_suspicion_is_written_down_once(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    decide(run.workspace, secret.path, Trigger.COMPROMISE)
    said = run.workspace.hub.describe(secret.path)
    assert said is not None
    decide(run.hooking("hub", patch_metadata=raising(AssertionError())).workspace, secret.path, Trigger.COMPROMISE)
    assert said.custom[SUSPECTED_AT].startswith("- ")


def test_the_end_of_a_credentials_life_is_known_from_the_metadata(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    ends = (lab.open(secret).clock.now + timedelta(days=3)).isoformat()
    candidate = SecretFields({"value": "x" * 40, "expires_at": ends})
    strategy = run.workspace.open_strategy(secret.path)

    class Ending:
        def __getattr__(self, name: str) -> Any:
            return getattr(strategy, name)

        def mint(self, current: SecretFields | None) -> SecretFields:
            return candidate

        def verify(self, change: object) -> None:
            """It passes."""

    ending = dataclasses.replace(run.workspace, open_strategy=lambda path: Ending())
    rotate(ending, secret.path, Trigger.FORCE)
    info = run.workspace.hub.describe(secret.path)
    assert info is not None
    assert info.custom[EXPIRES_AT] == ends
    retire(run.workspace, secret.path)
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=2, hours=1))
    reason = decide(opened.workspace, secret.path, Trigger.SCHEDULE).reason
    assert reason is not None
    assert reason.code == "Expiring"
    rotate(opened.workspace, secret.path)
    info = run.workspace.hub.describe(secret.path)
    assert info is not None
    assert EXPIRES_AT not in info.custom


def test_a_secret_that_its_target_refuses_is_among_the_work_and_its_alarm_is_not_lost(lab: Lab) -> None:
    secret = lab.alternating(maximum_age="40d")
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=41))
    refused = CandidateRejected("log in as", "pg:user", "the target refuses the login", "Run it again")
    run = Worker(opened.workspace, secret.path).hooking("strategy", verify=raising(refused))
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path)
    seen = sight(opened.workspace, secret.path)
    assert seen.work
    assert "beyond its maximum age" in seen.alarm


def test_consumers_that_are_not_all_told_are_work(lab: Lab) -> None:
    consumers = {"app": {"url": "http://localhost/app", "signing_key": "webhooks/app"}}
    secret = lab.generated(consumers=("app",), grace="1h")
    opened = lab.open(secret, consumers=consumers)
    Worker(opened.workspace, secret.path).promoted()
    assert sight(opened.workspace, secret.path).work
    rotate(opened.workspace, secret.path)
    assert not sight(opened.workspace, secret.path).work


def test_a_worker_that_was_overtaken_before_its_sweep_does_not_sweep(lab: Lab) -> None:
    secret = lab.dynamic()
    slow = worker(lab, secret, "slow/1/1")
    lost = Unavailable("issue", "database", "the power is gone", "Wait")
    with pytest.raises(Unavailable):
        rotate(slow.hooking("strategy", mint=raising(lost)).workspace, secret.path, Trigger.FORCE)
    quick = worker(lab, secret, "quick/1/1", clock=None)
    hasty = Worker(dataclasses.replace(quick.workspace, patience=0.0), secret.path)
    late = slow.hooking("hub", read=After(1, lambda: rotate(hasty.workspace, secret.path)))
    assert (
        rotate(late.hooking("strategy", remove_orphans=raising(AssertionError())).workspace, secret.path).state
        is RunState.HELD
    )
    assert lab.logs_in(lab.current(secret))
