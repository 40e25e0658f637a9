"""Staged rollouts: the canary is notified first, and an unhealthy one causes a rollback."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import Conflict, NotFound, Superseded, TerminalError, Unavailable
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.rollout import Acknowledgement
from keyturn.rotation.run import restore_previous, rotate
from tests.rotation.helpers import Worker, remote, with_copy, worker
from tests.support.hooks import Once, dead_holder, eventually, raising
from tests.support.lab import INTERVAL, Declared, Lab, Opened

pytestmark = pytest.mark.sampled(4, of="file")

CONSUMERS = {
    name: {"url": f"http://localhost/{name}", "signing_key": f"webhooks/{name}"}
    for name in ("api", "canary", "trainer")
}
REFUSES = Unavailable("notify", "canary", "answered 503", "See its log")
KINDS = ["alternating", "single", "dynamic", "generated"]


def waves(secret: Declared, **rollout: Any) -> Declared:
    """The same secret with a copy, three consumers, and one of them told first."""
    return with_copy(secret).having(
        consumers=("api", "canary", "trainer"), rollout={"canary": ("canary",), **rollout}, grace="1h"
    )


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return waves(lab.alternating())


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret, consumers=CONSUMERS)


def names(opened: Opened) -> list[tuple[str, int]]:
    """Who was told of which version, in order."""
    return [(consumer, version) for consumer, _, version in opened.sender.told]


def test_the_rest_is_told_after_the_pause_and_once_the_canary_is_well(lab: Lab) -> None:
    secret = waves(lab.alternating(), pause="10m")
    opened = lab.open(secret, consumers=CONSUMERS)
    slept: list[tuple[float, list[tuple[str, int]]]] = []
    workspace = dataclasses.replace(opened.workspace, sleep=lambda seconds: slept.append((seconds, names(opened))))
    outcome = rotate(workspace, secret.path, Trigger.FORCE)
    assert slept == [(600.0, [("canary", 2)])]
    assert sorted(names(opened)[1:]) == [("api", 2), ("trainer", 2)]
    assert unsettled(outcome) is None
    assert outcome.consumers == (Acknowledgement("canary"), Acknowledgement("api"), Acknowledgement("trainer"))


def test_without_a_health_check_only_the_notice_counts(lab: Lab) -> None:
    secret = waves(lab.generated(), health=False)
    opened = lab.open(secret, consumers=CONSUMERS)
    opened.sender.unwell["canary"] = REFUSES
    assert unsettled(rotate(opened.workspace, secret.path, Trigger.FORCE)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fails", ["silent", "unwell"])
def test_a_canary_that_fails_brings_the_previous_value_back_everywhere(lab: Lab, kind: str, fails: str) -> None:
    secret = waves(getattr(lab, kind)())
    opened = lab.open(secret, consumers=CONSUMERS)
    failing = getattr(opened.sender, fails)
    failing["canary"] = REFUSES
    told = opened.sender.deliver

    def recovers(consumer: str, path: str, version: int, at: Any, **_: Any) -> None:
        if version == 3:
            failing.clear()
        told(consumer, path, version, at)

    opened.sender.deliver = recovers  # type: ignore[method-assign,assignment]
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    candidate = opened.workspace.hub.read(secret.path, 2)
    assert candidate is not None
    assert (outcome.state, outcome.version) == (RunState.REVERTED, 3)
    assert lab.current(secret) == secret.first
    error = unsettled(outcome)
    assert isinstance(error, TerminalError)
    assert "canary" in error.problem
    assert "version 3 holds the previous value again" in error.problem

    copy = opened.store.describe(remote(secret))
    assert copy is not None
    assert copy.marks is not None
    assert (copy.marks.version, copy.intact) == (3, True)
    assert {version for name, version in names(opened) if name != "canary"} == {3}
    assert ("canary", 3) in names(opened)
    if kind in ("alternating", "dynamic"):
        assert lab.logs_in(candidate.fields)
    assert kind == "generated" or lab.logs_in(lab.current(secret))


def test_what_was_taken_back_ends_after_its_grace_and_then_another_is_tried(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    opened.clock.advance(INTERVAL)
    opened.sender.unwell["canary"] = REFUSES
    assert rotate(opened.workspace, secret.path).state is RunState.REVERTED
    candidate = opened.workspace.hub.read(secret.path, 2)
    assert candidate is not None
    opened.sender.unwell.clear()
    # The secret is as old as it was, but the schedule waits for the grace.
    info = opened.workspace.hub.describe(secret.path)
    assert info is not None
    assert info.versions[0].created_at == info.rotated_at
    again = rotate(opened.workspace, secret.path)
    assert (again.state, again.version) == (RunState.REVERTED, 3)
    assert not retire(opened.workspace, secret.path).retired
    assert lab.logs_in(candidate.fields)
    opened.clock.advance(timedelta(hours=1))
    assert eventually(lambda: retire(opened.workspace, secret.path).retired)
    assert not lab.logs_in(candidate.fields)
    assert lab.logs_in(secret.first)
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))
    (past,) = worker(lab, secret).record().history
    assert past.note == f"the canary is not well: canary ({REFUSES})"


def test_what_a_person_takes_back_is_finished_after_a_death_and_is_no_failure(lab: Lab) -> None:
    secret = lab.alternating()
    opened = lab.open(secret, consumers=CONSUMERS)
    run = Worker(opened.workspace, secret.path)
    run.promoted()
    dying = run.hooking("hub", patch_metadata=raising(KeyboardInterrupt())).workspace
    with pytest.raises(KeyboardInterrupt):
        restore_previous(dying, secret.path, "it is too short")
    finished = rotate(opened.workspace, secret.path)
    assert (finished.state, finished.message) == (RunState.TAKEN_BACK, "it is too short")
    assert unsettled(finished) is None
    assert lab.current(secret) == secret.first
    assert unsettled(restore_previous(opened.workspace, secret.path, "again")) is None
    waits = rotate(opened.workspace, secret.path)
    assert (waits.state, unsettled(waits)) == (RunState.SETTLED, None)
    assert lab.current(secret) == secret.first


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [1, 2])
@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_dies_while_it_takes_back_is_finished_by_the_next(
    lab: Lab, kind: str, write: int, before: bool
) -> None:
    secret = waves(getattr(lab, kind)())
    opened = lab.open(secret, consumers=CONSUMERS)
    run = Worker(opened.workspace, secret.path)
    token = run.promoted().rotation.token
    count = iter(range(1, 100))

    def dies(*_: object, **__: object) -> None:
        if next(count) == write:
            raise KeyboardInterrupt

    hooks: dict[str, Any] = {"write_state": dies} if before else {"patch_metadata": raising(KeyboardInterrupt())}
    with pytest.raises(KeyboardInterrupt):
        rollback(run.hooking("hub", **hooks).workspace, secret.path, token, "the canary is not well")
    record = run.record()
    if record.open is None:
        assert record.retiring is not None
        assert rollback(opened.workspace, secret.path, token, "the canary is not well").stage is Stage.REVERTED
    else:
        assert rotate(opened.workspace, secret.path).state is RunState.REVERTED
    assert lab.current(secret) == secret.first
    assert kind == "generated" or lab.logs_in(lab.current(secret))
    info = opened.workspace.hub.describe(secret.path)
    assert info is not None
    assert info.custom[ROTATED_AT] == info.versions[0].created_at.isoformat()
    assert info.version == 3


def test_a_run_that_died_before_the_rest_was_told_goes_on_with_the_canary(opened: Opened, secret: Declared) -> None:
    Worker(opened.workspace, secret.path).promoted()
    retire(opened.workspace, secret.path)
    assert names(opened) == [("canary", 2)]
    opened.sender.unwell["canary"] = REFUSES
    assert rotate(opened.workspace, secret.path).state is RunState.REVERTED


def test_a_canary_that_passed_is_not_asked_again(opened: Opened, secret: Declared) -> None:
    opened.sender.silent["api"] = REFUSES
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert outcome.state is RunState.ROTATED
    opened.sender.unwell["canary"] = REFUSES
    opened.sender.silent.clear()
    assert rotate(opened.workspace, secret.path).state is RunState.SETTLED
    assert sorted(names(opened)) == [("api", 2), ("canary", 2), ("trainer", 2)]


def test_a_suspected_credential_is_never_put_back(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.sender.unwell["canary"] = REFUSES
    outcome = rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 2)
    assert len(names(opened)) == 3
    assert not lab.logs_in(secret.first)


def test_what_somebody_wrote_meanwhile_is_not_overwritten(lab: Lab, opened: Opened, secret: Declared) -> None:
    run = Worker(opened.workspace, secret.path)
    attempt = run.promoted()
    fields = SecretFields({**lab.current(secret), "note": "by hand"})
    lab.hub.write(secret.path, fields, cas=2)
    with pytest.raises(Superseded, match="CURRENT is no longer version 2"):
        rollback(opened.workspace, secret.path, attempt.rotation.token, "why")
    assert lab.current(secret)["note"] == "by hand"


def test_a_field_written_while_the_old_value_is_put_back_is_kept(lab: Lab, opened: Opened, secret: Declared) -> None:
    run = Worker(opened.workspace, secret.path)
    token = run.promoted().rotation.token
    by_hand = Once(lambda: lab.hub.write(secret.path, SecretFields({**lab.current(secret), "note": "kept"}), cas=2))
    rollback(run.hooking("hub", write=by_hand).workspace, secret.path, token, "why")
    assert lab.current(secret) == {**secret.first, "note": "kept"}


def test_where_the_hub_kept_no_version_before_nothing_is_taken_back(lab: Lab, opened: Opened, secret: Declared) -> None:
    token = Worker(opened.workspace, secret.path).promoted().rotation.token
    lab.root.secrets.kv.v2.destroy_secret_versions(secret.path, [1])
    with pytest.raises(NotFound, match="keeps no version before 2"):
        rollback(opened.workspace, secret.path, token, "why")
    retiring = worker(lab, secret).record().retiring
    assert retiring is not None
    assert retiring.stage is Stage.PROMOTED


def test_a_late_promotion_does_not_make_what_was_put_back_look_young(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    late = worker(lab, secret, dead_holder(), consumers=CONSUMERS)
    attempt = late.verified()
    opened.sender.unwell["canary"] = REFUSES
    late = late.hooking("hub", patch_metadata=Once(lambda: rotate(opened.workspace, secret.path)))
    with pytest.raises(Conflict):
        steps.promote(late.workspace, attempt)
    info = opened.workspace.hub.describe(secret.path)
    assert info is not None
    assert (info.version, info.promoted_by) == (3, attempt.rotation.token)
    assert info.custom[ROTATED_AT] == info.versions[0].created_at.isoformat()
