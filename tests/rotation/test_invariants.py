"""The invariants of DESIGN.md, part 3, each with tests of its own name. The crash matrix checks them together."""

import json
import logging
import pickle
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import CandidateRejected, Conflict, Locked, NotOwned, Superseded, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.ports.strategies import Change
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.report import outcome_data
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import remote, with_copy, worker
from tests.support.hooks import Once, dead_holder, raising
from tests.support.lab import Declared, Lab

LOST = Unavailable("write", "the hub", "the connection failed", "Try again")


def roles(lab: Lab, secret: Declared) -> list[tuple[Any, ...]]:
    """Every account of the secret's owner, with its verifier."""
    return lab.sql(
        "SELECT rolname, rolpassword FROM pg_authid WHERE oid IN (SELECT member FROM pg_auth_members "
        "WHERE roleid = %s::regrole) ORDER BY 1",
        secret.owner,
    )


# --- I1 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
def test_i1_nothing_outside_changes_before_the_candidate_is_durable(lab: Lab, kind: str) -> None:
    secret: Declared = getattr(lab, kind)()
    before = roles(lab, secret)
    run = worker(lab, secret).hooking("hub", write_state=raising(LOST))
    with pytest.raises(Unavailable):
        rotate(run.workspace, secret.path, Trigger.FORCE)
    assert roles(lab, secret) == before
    assert lab.current(secret) == secret.first


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
def test_i1_when_the_target_is_touched_the_hub_holds_what_is_needed_to_go_on(lab: Lab, kind: str) -> None:
    secret: Declared = getattr(lab, kind)()
    seen: list[Stage] = []

    def note(change: Change) -> None:
        record = worker(lab, secret).record()
        assert record.open is not None
        assert record.candidate == change.candidate
        seen.append(record.open.stage)

    def intent(current: SecretFields | None) -> None:
        record = worker(lab, secret).record()
        seen.extend([record.open.stage] if record.open else [])

    run = worker(lab, secret).hooking("strategy", install=note, mint=intent)
    rotate(run.workspace, secret.path, Trigger.FORCE)
    assert seen == ([Stage.MINTING, Stage.PENDING] if kind == "dynamic" else [Stage.PENDING])


# --- I2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic", "generated"])
@pytest.mark.parametrize("step", ["install", "verify"])
def test_i2_a_retry_reuses_the_candidate(lab: Lab, kind: str, step: str) -> None:
    secret: Declared = getattr(lab, kind)()
    run = worker(lab, secret)
    with pytest.raises(Unavailable):
        rotate(run.hooking("strategy", **{step: raising(LOST)}).workspace, secret.path, Trigger.FORCE)
    candidate = run.record().candidate
    assert candidate is not None
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert SecretFields(lab.current(secret)).holds(candidate)


def test_i2_a_candidate_that_the_target_refused_is_abandoned_and_a_new_one_made(lab: Lab) -> None:
    secret = lab.alternating()
    run = worker(lab, secret)
    refused = CandidateRejected("log in as", "pg:user", "the target refuses the login", "Run it again")
    with pytest.raises(CandidateRejected):
        rotate(run.hooking("strategy", verify=raising(refused)).workspace, secret.path, Trigger.FORCE)
    history = run.record().history
    assert {(past.stage, past.note, past.refused) for past in history} == {
        (Stage.ABANDONED, "the target refuses the login", True)
    }
    assert len({past.token for past in history}) == 3
    assert (run.record().rotation, run.record().candidate) == (None, None)
    assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))


# --- I3 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
def test_i3_current_has_passed_a_login(lab: Lab, kind: str) -> None:
    secret: Declared = getattr(lab, kind)()

    def spoil(change: Change) -> None:
        lab.sql(f"ALTER ROLE \"{change.candidate['username'].reveal()}\" PASSWORD 'changed-by-hand'")

    run = worker(lab, secret).hooking("strategy", verify=spoil)
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path, Trigger.FORCE)
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)


# --- I4 ----------------------------------------------------------------------------------------------------


def test_i4_a_second_worker_finds_the_rotation_held(lab: Lab) -> None:
    secret = lab.alternating()
    first, second = worker(lab, secret, "this-is/1/1"), worker(lab, secret, "that-is/2/2")
    attempt = first.staged()
    with pytest.raises(Locked, match="held by process 1 on this-is"):
        second.staged()
    assert rotate(second.workspace, secret.path, Trigger.FORCE).state is RunState.HELD
    steps.install(first.workspace, attempt)
    steps.promote(first.workspace, attempt)


def test_i4_of_two_that_decided_together_one_opens_the_rotation(lab: Lab) -> None:
    secret = lab.alternating()
    late = worker(lab, secret, "late/2/2")
    early = worker(lab, secret, "early/1/1")
    late = late.hooking("strategy", preflight=Once(lambda: early.staged()))
    with pytest.raises(Locked, match="held by process 1 on early"):
        late.staged()
    opened = early.record()
    assert opened.open is not None
    assert opened.open.holder == "early/1/1"


def test_i4_a_stale_holder_can_not_write_anywhere(lab: Lab) -> None:
    secret = lab.alternating()
    stale = worker(lab, secret, dead_holder())
    attempt = stale.installed()
    successor = worker(lab, secret)
    assert rotate(successor.workspace, secret.path).state is RunState.ROTATED
    retire(successor.workspace, secret.path)
    assert rotate(successor.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    retire(successor.workspace, secret.path)
    assert rotate(successor.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    current = lab.current(secret)
    for write in (
        lambda: steps.install(stale.workspace, attempt),
        lambda: steps.promote(stale.workspace, attempt),
        lambda: abandon(stale.workspace, attempt, "late"),
    ):
        with pytest.raises((Superseded, Conflict)):
            write()
    assert lab.current(secret) == current
    assert lab.logs_in(current)


# --- I5 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["alternating", "dynamic"])
def test_i5_after_every_step_current_works_and_the_old_one_until_it_is_retired(lab: Lab, kind: str) -> None:
    secret: Declared = with_copy(getattr(lab, kind)())
    run = worker(lab, secret)

    def works() -> bool:
        return lab.logs_in(lab.current(secret)) and lab.logs_in(secret.first)

    attempt = run.staged()
    assert works()
    steps.install(run.workspace, attempt)
    assert works()
    steps.verify(run.workspace, attempt)
    assert works()
    steps.promote(run.workspace, attempt)
    assert works()
    assert sync_destinations(run.workspace, secret.path)[0].in_step
    assert works()
    assert retire(run.workspace, secret.path).retired
    assert lab.logs_in(lab.current(secret))
    assert not lab.logs_in(secret.first)


def test_i5_a_credential_that_somebody_put_back_by_hand_is_not_retired(lab: Lab) -> None:
    secret = lab.alternating()
    run = worker(lab, secret)
    run.promoted()
    lab.hub.write(secret.path, SecretFields(secret.first), cas=2)
    assert not retire(run.workspace, secret.path, Waive.EVERYTHING).retired
    assert lab.logs_in(lab.current(secret))
    (past,) = run.record().history
    assert past.note == "not ended: CURRENT names the old credential again"
    assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))


def test_i5_a_promoted_candidate_is_not_given_up_when_the_run_is_taken_over(lab: Lab) -> None:
    """The run dies between CURRENT and the record, and a privilege is missing when the next one looks."""
    secret = lab.alternating()
    run = worker(lab, secret)
    with pytest.raises(Unavailable):
        rotate(run.hooking("hub", patch_metadata=raising(LOST)).workspace, secret.path, Trigger.FORCE)
    current = lab.current(secret)
    assert current["username"] == secret.users[1]
    lab.sql(f"CREATE ROLE {secret.owner}_g; GRANT {secret.owner}_g TO {secret.users[0]}")
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert lab.current(secret) == current
    assert lab.logs_in(current)


# --- I6 ----------------------------------------------------------------------------------------------------


def test_i6_what_somebody_else_keeps_in_a_store_is_never_overwritten(lab: Lab) -> None:
    secret = with_copy(lab.generated())
    opened = lab.open(secret)
    opened.store.put_by_hand(remote(secret), "theirs")
    with pytest.raises(NotOwned, match="Keyturn has not made it"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    (pushed,) = sync_destinations(opened.workspace, secret.path)
    assert pushed.state is CopyState.FAILED
    assert "Keyturn has not made it" in pushed.error
    assert opened.store.read(remote(secret)).reveal() == "theirs"
    assert lab.current(secret) == secret.first


def test_i6_the_copy_of_another_secret_is_never_overwritten(lab: Lab) -> None:
    first, second = lab.generated(), lab.generated()
    place = ({"store": "memory", "name": "shared"},)
    opened = lab.open(first.having(destinations=place), second.having(destinations=place))
    assert sync_destinations(opened.workspace, first.path)[0].state is CopyState.CREATED
    (pushed,) = sync_destinations(opened.workspace, second.path)
    assert f"it is the copy of {first.path}" in pushed.error
    assert opened.store.writes == 1


def test_i6_leases_of_others_survive_the_sweep_after_a_crash(lab: Lab) -> None:
    secret = lab.dynamic()
    others = lab.database.issue(secret.role)
    dies = worker(lab, secret, dead_holder())
    with pytest.raises(Unavailable):
        dies.hooking("strategy", mint=raising(LOST)).staged()
    orphan = lab.database.issue(secret.role)
    run = worker(lab, secret)
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert retire(run.workspace, secret.path).retired
    left = set(lab.database.leases(secret.role))
    assert left == {others.lease_id, lab.current(secret)["lease_id"]}
    assert orphan.lease_id not in left


# --- I7 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic", "generated"])
def test_i7_no_value_is_in_what_a_run_says_or_keeps(lab: Lab, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = with_copy(getattr(lab, kind)())
    run = worker(lab, secret)
    outcome = rotate(run.workspace, secret.path, Trigger.FORCE)
    retirement = retire(run.workspace, secret.path)
    kept = lab.hub.read_state(f"rotations/{secret.path}")
    assert kept is not None
    said = [str(outcome), json.dumps(outcome_data(outcome)), str(retirement), caplog.text, json.dumps(kept.data)]
    said.append(pickle.dumps([outcome, retirement]).decode("latin-1"))
    values = [
        fields[name]
        for fields in (secret.first, lab.current(secret))
        for name in ("password", "value")
        if name in fields
    ]
    assert len(values) == 2
    assert not [text for text in said for value in values if value in text]


# --- I8 ----------------------------------------------------------------------------------------------------


def test_i8_versions_decide_and_not_clocks(lab: Lab) -> None:
    secret = lab.alternating()
    opened = lab.open(secret)
    sequences = []
    for years in (10, -20, 5):
        opened.clock.advance(timedelta(days=365 * years))
        assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
        rotation = worker(lab, secret).record().retiring
        assert rotation is not None
        sequences.append(rotation.sequence)
        assert rotation.version == len(sequences) + 1
        assert retire(opened.workspace, secret.path, Waive.GRACE).retired
        assert lab.logs_in(lab.current(secret))
    assert sequences == sorted(sequences)


def test_i8_a_stale_worker_whose_clock_is_ahead_is_stale_all_the_same(lab: Lab) -> None:
    secret = lab.alternating()
    opened = lab.open(secret, holder=dead_holder())
    opened.clock.advance(timedelta(days=3650))
    stale = worker(lab, secret, dead_holder())
    stale.workspace = opened.workspace
    attempt = stale.verified()
    assert rotate(worker(lab, secret).workspace, secret.path).state is RunState.ROTATED
    with pytest.raises((Superseded, Conflict)):
        steps.promote(opened.workspace, attempt)
