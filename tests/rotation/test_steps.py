"""The steps one by one: taking over, coming late, giving up, and what people do by hand meanwhile."""

from datetime import timedelta

import pytest

from keyturn.core.errors import (
    CandidateRejected,
    Conflict,
    Invalid,
    Locked,
    Missing,
    Superseded,
    TerminalError,
    Unavailable,
)
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.decide import UNFINISHED, Decision, decide
from keyturn.rotation.outcome import RunState
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import Worker, worker
from tests.support.hooks import Once, dead_holder, raising
from tests.support.lab import Declared, Lab, fresh

REFUSED = CandidateRejected("log in as", "pg:user", "the target refuses the login", "Run it again")
LOST = Unavailable("write", "the hub", "the connection failed", "Try again")


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


def version(lab: Lab, secret: Declared) -> int:
    info = lab.hub.describe(secret.path)
    assert info is not None
    return info.version


# --- decide ------------------------------------------------------------------------------------------------


def test_a_young_secret_is_not_due(lab: Lab, secret: Declared) -> None:
    decision = decide(lab.open(secret).workspace, secret.path, Trigger.SCHEDULE)
    assert (decision.reason, decision.seen, decision.unsettled) == (None, 1, None)


def test_an_interrupted_rotation_goes_on_whatever_its_age(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    run.staged()
    decision = decide(run.workspace, secret.path, Trigger.SCHEDULE)
    assert decision.reason is not None
    assert decision.reason.code == "Unfinished"


def test_a_promotion_between_its_two_reads_makes_nothing_due(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=31))
    quick = worker(lab, secret, clock=opened.clock)
    calls = Once(lambda: quick.promoted())
    late = Worker(opened.workspace, secret.path).hooking("hub", read_state=lambda path: calls())
    decision = decide(late.workspace, secret.path, Trigger.SCHEDULE)
    assert (decision.reason, decision.seen) == (None, 2)


@pytest.mark.parametrize("retires", [False, True], ids=["promoted", "retired"])
def test_a_version_that_was_not_dated_yet_makes_nothing_due(lab: Lab, secret: Declared, retires: bool) -> None:
    """Of another run's promotion the first of the two reads sees the half and the second one the whole."""
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=31))
    quick = worker(lab, secret, clock=opened.clock)
    steps.write_current(quick.workspace, quick.verified())

    def finish() -> None:
        assert rotate(quick.workspace, secret.path).state is RunState.ROTATED
        assert not retires or retire(quick.workspace, secret.path).retired

    goes_on = Once(finish)
    late = Worker(opened.workspace, secret.path).hooking("hub", read_state=lambda path: goes_on())
    decision = decide(late.workspace, secret.path, Trigger.SCHEDULE)
    assert (decision.reason, decision.seen) == (None, 2)


def test_a_rotation_found_unfinished_and_finished_by_then_is_not_done_again(lab: Lab, secret: Declared) -> None:
    quick, late = worker(lab, secret), worker(lab, secret)
    steps.write_current(quick.workspace, quick.verified())
    decision = decide(late.workspace, secret.path, Trigger.SCHEDULE)
    assert decision == Decision(UNFINISHED, 2)
    assert rotate(quick.workspace, secret.path).state is RunState.ROTATED
    assert retire(quick.workspace, secret.path).retired
    with pytest.raises(Locked, match="another run has finished with version 2"):
        steps.stage(late.workspace, secret.path, decision)


def test_a_secret_that_was_deleted_and_made_anew_is_decided_on_like_any_other(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    run.promoted()
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(secret.path, mount_point="secret")
    lab.hub.write(secret.path, SecretFields(secret.first), cas=0)
    assert decide(run.workspace, secret.path, Trigger.SCHEDULE).reason is None
    assert rotate(run.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


def test_a_secret_without_a_version_is_made(lab: Lab) -> None:
    first = lab.generated()
    secret = Declared(f"tests/{fresh()}", first.data, {})
    outcome = rotate(lab.open(secret).workspace, secret.path)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 1)
    assert set(lab.current(secret)) == {"value", "rotated_at"}


def test_a_secret_whose_newest_version_was_deleted_gets_the_next_one_once_a_person_gives_it_back(lab: Lab) -> None:
    secret = lab.generated()
    lab.root.secrets.kv.v2.delete_latest_version_of_secret(secret.path, mount_point="secret")
    with pytest.raises(Missing):
        rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    outcome = rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE, ground=1)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 2)
    assert lab.current(secret)["endpoint"] == secret.first["endpoint"]


# --- stage -------------------------------------------------------------------------------------------------


def test_a_decision_on_an_older_version_is_too_late(lab: Lab, secret: Declared) -> None:
    late, quick = worker(lab, secret), worker(lab, secret)
    decision = decide(late.workspace, secret.path, Trigger.FORCE)
    lab.hub.write(secret.path, SecretFields({**secret.first, "host": "elsewhere"}), cas=1)
    with pytest.raises(Locked, match="a moment ago"):
        steps.stage(late.workspace, secret.path, decision)
    quick.promoted()
    with pytest.raises(Locked, match="not retired yet"):
        steps.stage(late.workspace, secret.path, decide(late.workspace, secret.path, Trigger.FORCE))


def test_a_candidate_is_not_where_consumers_read(lab: Lab, secret: Declared) -> None:
    attempt = worker(lab, secret).verified()
    assert lab.current(secret) == secret.first
    assert version(lab, secret) == 1
    assert attempt.candidate["password"].reveal() not in str(lab.current(secret))


def test_every_step_can_be_resumed_by_names_alone(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    token = run.staged().rotation.token
    for step in (steps.install, steps.verify, steps.promote, steps.promote):
        step(run.workspace, steps.resume(run.workspace, secret.path, token))
    assert lab.logs_in(lab.current(secret))
    assert version(lab, secret) == 2
    with pytest.raises(Superseded, match="is over"):
        steps.resume(run.workspace, secret.path, "another-token")


def test_a_mint_that_comes_late_gives_its_lease_back(lab: Lab) -> None:
    secret = lab.dynamic()
    successor = worker(lab, secret)
    dies = worker(lab, secret, dead_holder()).hooking(
        "strategy", mint=Once(lambda: rotate(successor.workspace, secret.path))
    )
    with pytest.raises(Locked):
        dies.staged()
    held = {secret.first["lease_id"], lab.current(secret)["lease_id"]}
    assert set(lab.database.leases(secret.role)) == held
    assert lab.logs_in(lab.current(secret))


def test_what_has_no_rotation_or_no_candidate_says_so(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = Attempt(secret.path, run.record(), None)
    with pytest.raises(TerminalError, match="no rotation is open"):
        _ = attempt.rotation
    with pytest.raises(TerminalError, match="no candidate"):
        _ = attempt.candidate


# --- promote -----------------------------------------------------------------------------------------------


def test_promotion_keeps_the_secrets_other_fields_and_their_types(lab: Lab, secret: Declared) -> None:
    worker(lab, secret).promoted()
    current = lab.current(secret)
    assert (current["host"], current["port"]) == (secret.first["host"], secret.first["port"])
    assert set(current) == {*secret.first, "rotated_at"}


def test_a_field_that_somebody_edits_meanwhile_keeps_the_edit(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = run.verified()
    lab.hub.write(secret.path, SecretFields({**secret.first, "host": "moved.example.com"}), cas=1)
    promoted = steps.promote(run.workspace, attempt)
    assert lab.current(secret)["host"] == "moved.example.com"
    assert lab.logs_in(lab.current(secret))
    assert promoted.rotation.version == version(lab, secret) == 3


def test_promoting_twice_writes_once(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = steps.promote(run.workspace, run.verified())
    assert steps.promote(run.workspace, attempt) == attempt
    assert version(lab, secret) == 2


def test_promotion_dates_the_secret(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.clock.advance(timedelta(days=400))
    rotate(opened.workspace, secret.path)
    info = lab.hub.describe(secret.path)
    assert info is not None
    assert info.rotated_at == opened.clock.now
    assert lab.current(secret)["rotated_at"] == info.custom[ROTATED_AT] == opened.clock.now.isoformat()


def test_a_credential_that_somebody_writes_meanwhile_is_kept(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = run.verified()
    password = lab.user(f"{secret.owner}_c", secret.owner)
    by_hand = {**secret.first, "username": f"{secret.owner}_c", "password": password}
    lab.hub.write(secret.path, SecretFields(by_hand), cas=1)
    with pytest.raises(Superseded, match="CURRENT names another credential"):
        steps.promote(run.workspace, attempt)
    assert lab.current(secret) == by_hand
    with pytest.raises(Invalid, match="not one of its users"):
        rotate(run.workspace, secret.path)
    assert lab.current(secret) == by_hand
    assert lab.logs_in(by_hand)
    assert run.record().rotation is None


def test_the_other_user_put_in_force_by_hand_stays_open_and_is_rotated_from(lab: Lab, secret: Declared) -> None:
    """Somebody finishes by hand what hangs: their password, not the candidate's."""
    run = worker(lab, secret)
    run.installed()
    other = secret.users[1]
    lab.sql(f"ALTER ROLE {other} PASSWORD 'set-by-hand'")
    by_hand = {**secret.first, "username": other, "password": "set-by-hand"}
    lab.hub.write(secret.path, SecretFields(by_hand), cas=1)
    outcome = rotate(run.workspace, secret.path)
    assert outcome.state is RunState.ROTATED
    assert lab.logs_in(by_hand)
    assert lab.current(secret)["username"] == secret.users[0]
    assert lab.logs_in(lab.current(secret))
    assert [past.stage for past in run.record().history] == [Stage.ABANDONED]


# --- abandon -----------------------------------------------------------------------------------------------


def test_an_abandoned_candidate_is_refused_and_current_is_unchanged(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = run.installed()
    candidate = attempt.candidate
    assert lab.logs_in(candidate)
    closed = abandon(run.workspace, attempt, "it was refused")
    assert closed.record.rotation is None
    assert not lab.logs_in(candidate)
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)


@pytest.mark.parametrize("dated", [True, False], ids=["dated", "undated"])
def test_an_abandonment_does_not_make_the_secret_look_young(lab: Lab, secret: Declared, dated: bool) -> None:
    before = lab.hub.describe(secret.path)
    assert before is not None
    assert before.rotated_at is not None
    moment = before.rotated_at - timedelta(days=1) if dated else before.rotated_at
    if dated:
        lab.hub.patch_metadata(secret.path, {ROTATED_AT: moment.isoformat()})
    run = worker(lab, secret)
    abandon(run.workspace, run.installed(), "it was refused")
    after = lab.hub.describe(secret.path)
    assert after is not None
    assert after.rotated_at == moment


@pytest.mark.parametrize("staged", [True, False], ids=["a new candidate staged", "nothing staged"])
def test_a_worker_suspended_before_it_promoted_is_refused_after_the_abandonment(
    lab: Lab, secret: Declared, staged: bool
) -> None:
    stale = worker(lab, secret, dead_holder())
    attempt = stale.verified()
    successor = worker(lab, secret).hooking("strategy", verify=raising(REFUSED))
    with pytest.raises(CandidateRejected):
        rotate(successor.workspace, secret.path)
    if staged:
        worker(lab, secret).verified()
    before = version(lab, secret)
    with pytest.raises(Superseded):
        steps.promote(stale.workspace, attempt)
    assert (lab.current(secret), version(lab, secret)) == (secret.first, before)
    assert lab.logs_in(secret.first)
    with pytest.raises(Superseded):
        steps.install(stale.workspace, attempt)


def test_a_promotion_in_the_midst_of_an_abandonment_is_refused(lab: Lab, secret: Declared) -> None:
    stale = worker(lab, secret, dead_holder())
    attempt = stale.verified()

    def promote_late() -> None:
        with pytest.raises((Superseded, Locked)):
            steps.promote(stale.workspace, attempt)

    successor = worker(lab, secret).hooking("strategy", verify=raising(REFUSED), abandon=Once(promote_late))
    with pytest.raises(CandidateRejected):
        rotate(successor.workspace, secret.path)
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)


def test_a_promotion_that_slips_in_just_before_the_fence_is_put_back(lab: Lab, secret: Declared) -> None:
    """Its compare-and-set was on its way when the record closed."""
    stale = worker(lab, secret, dead_holder())
    attempt = stale.verified()
    slips = Once(lambda: steps.write_current(stale.workspace, attempt))
    successor = worker(lab, secret).hooking("strategy", verify=raising(REFUSED))
    successor = successor.hooking("hub", describe=lambda path: slips() if successor.record().open else None)
    late = steps.resume(successor.workspace, secret.path, attempt.rotation.token)
    abandon(successor.workspace, late, "refused")
    assert lab.current(secret) == secret.first
    assert lab.logs_in(secret.first)
    assert not lab.logs_in(attempt.candidate)
    assert version(lab, secret) == 3


def test_a_worker_suspended_before_it_gave_up_does_not_close_what_was_promoted_meanwhile(
    lab: Lab, secret: Declared
) -> None:
    stale = worker(lab, secret, dead_holder())
    attempt = stale.installed()
    assert rotate(worker(lab, secret).workspace, secret.path).state is RunState.ROTATED
    with pytest.raises(Conflict):
        abandon(stale.workspace, attempt, "refused before the successor came")
    assert lab.logs_in(lab.current(secret))


def test_of_two_tasks_of_one_process_a_refused_one_does_not_undo_the_other(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = run.installed()
    steps.promote(run.workspace, attempt)
    with pytest.raises(Conflict):
        abandon(run.workspace, attempt, "refused")
    assert lab.logs_in(lab.current(secret))


def test_a_single_users_password_is_put_back(lab: Lab) -> None:
    secret = lab.single()
    run = worker(lab, secret).hooking("strategy", verify=raising(REFUSED))
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path, Trigger.FORCE)
    assert lab.logs_in(secret.first)


def test_the_lease_of_a_refused_candidate_is_revoked(lab: Lab) -> None:
    secret = lab.dynamic()
    run = worker(lab, secret).hooking("strategy", verify=raising(REFUSED))
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path, Trigger.FORCE)
    assert lab.database.leases(secret.role) == [secret.first["lease_id"]]


def test_a_first_candidate_can_be_given_up_where_there_is_no_current(lab: Lab) -> None:
    made = lab.alternating()
    secret = Declared(f"tests/{fresh()}", made.data, {}, made.users, made.owner)
    run = worker(lab, secret).hooking("strategy", verify=raising(REFUSED))
    with pytest.raises(CandidateRejected):
        rotate(run.workspace, secret.path)
    assert lab.hub.read(secret.path) is None
    assert rotate(worker(lab, secret).workspace, secret.path, Trigger.FORCE).version == 1
