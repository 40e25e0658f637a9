"""Values of an open rotation are in entries of their own; a record of an older release is moved to that form."""

import json
from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Conflict, Invalid, KeyturnError
from keyturn.core.rotation_record import FORMAT, INLINE, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.candidates import CANDIDATES, ROTATIONS
from keyturn.rotation.decide import sight
from keyturn.rotation.outcome import RunState
from keyturn.rotation.repair.forget import forget
from keyturn.rotation.repair.record_upkeep import move_all_values, move_values, remove_leftovers
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record, rewrite
from tests.rotation.helpers import Worker, worker
from tests.support.hooks import ELSEWHERE, After, dead_holder, raising
from tests.support.lab import Declared, Lab

WRITES = ("claim_state", "write_state", "delete_state")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.generated()


def stored(lab: Lab, secret: Declared) -> list[str]:
    return list(lab.hub.list_state(f"{CANDIDATES}/{secret.path}"))


def kept(lab: Lab, secret: Declared) -> dict[str, Any]:
    state = lab.hub.read_state(f"{ROTATIONS}/{secret.path}")
    assert state
    return state.data


def as_before(lab: Lab, secret: Declared) -> SecretFields:
    """An open rotation as release 1 has left it: its candidate is in the record, in clear."""
    run = worker(lab, secret, dead_holder())
    run.staged()
    record = run.record()
    assert record.candidate
    for place in stored(lab, secret):
        lab.hub.delete_state(place)
    data = {**kept(lab, secret), "format": INLINE, "candidate": record.candidate.reveal()}
    lab.hub.write_state(f"{ROTATIONS}/{secret.path}", data, cas=record.version)
    return record.candidate


def killed_at(run: Worker, number: int) -> Worker:
    """The worker, which is killed before its write of this number, counted from 0."""
    dying = After(number, lambda: raising(Killed())())
    return run.hooking("hub", **dict.fromkeys(WRITES, dying))


def test_a_record_names_its_candidate_and_does_not_hold_it(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    attempt = run.staged()
    (place,) = stored(lab, secret)
    record = kept(lab, secret)
    assert place == f"{CANDIDATES}/{secret.path}/{record['candidate']}"
    assert attempt.candidate["value"].reveal() not in json.dumps(record)
    state = lab.hub.read_state(place)
    assert state
    assert state.data == attempt.candidate.reveal()


def test_a_candidate_is_removed_once_it_is_current(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    run.promoted()
    assert stored(lab, secret) == []
    assert run.record().retiring


def test_a_rotation_of_an_older_release_goes_on_with_the_same_candidate(lab: Lab, secret: Declared) -> None:
    candidate = as_before(lab, secret)
    run = worker(lab, secret)
    assert run.staged().candidate == candidate
    record = kept(lab, secret)
    assert (record["format"], type(record["candidate"])) == (FORMAT, str)
    assert rotate(run.workspace, secret.path).state is RunState.ROTATED
    assert SecretFields(lab.current(secret)).holds(candidate)
    assert stored(lab, secret) == []


@pytest.mark.parametrize("number", range(3))
def test_a_move_that_is_killed_anywhere_is_finished_by_the_next(lab: Lab, secret: Declared, number: int) -> None:
    candidate, run = as_before(lab, secret), worker(lab, secret)
    if number < 2:
        with pytest.raises(Killed):
            move_values(killed_at(run, number).workspace, secret.path)
    move_values(run.workspace, secret.path)
    assert run.record().candidate == candidate
    assert rotate(worker(lab, secret).workspace, secret.path).state is RunState.ROTATED
    assert SecretFields(lab.current(secret)).holds(candidate)
    remove_leftovers(run.workspace)
    assert stored(lab, secret) == []


def test_a_worker_of_an_older_release_is_refused_once_its_record_is_moved(lab: Lab, secret: Declared) -> None:
    as_before(lab, secret)
    older = lab.hub.read_state(f"{ROTATIONS}/{secret.path}")
    assert older
    move_values(worker(lab, secret).workspace, secret.path)
    with pytest.raises(Conflict):
        lab.hub.write_state(f"{ROTATIONS}/{secret.path}", older.data, cas=older.version)
    # That release knows formats up to 1, and refuses a record of any newer one.
    assert kept(lab, secret)["format"] > INLINE


def test_what_an_older_worker_has_left_in_the_open_is_moved_by_the_next_look(lab: Lab, secret: Declared) -> None:
    candidate = as_before(lab, secret)
    sight(worker(lab, secret).workspace, secret.path)
    assert kept(lab, secret)["format"] == FORMAT
    assert worker(lab, secret).record().candidate == candidate


def test_a_record_that_cannot_be_read_is_named_and_stops_no_other(lab: Lab, secret: Declared) -> None:
    other = lab.generated()
    as_before(lab, secret)
    lab.hub.write_state(f"{ROTATIONS}/{other.path}", {"rotation": {"stage": "?"}}, cas=0)
    try:
        failed = move_all_values(worker(lab, secret).workspace)
        assert "can't be read" in str(failed[other.path])
        assert kept(lab, secret)["format"] == FORMAT
    finally:
        lab.hub.delete_state(f"{ROTATIONS}/{other.path}")


# --- what nothing names


def test_a_suspended_worker_is_refused_once_its_candidate_was_removed(lab: Lab, secret: Declared) -> None:
    assert rotate(worker(lab, secret).workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    looked: list[list[str]] = []

    def meanwhile(path: str, *args: Any, **kwargs: Any) -> None:
        if path.startswith(ROTATIONS) and not looked:
            looked.append([])
            looked[0] = remove_leftovers(worker(lab, secret, ELSEWHERE).workspace)

    run = worker(lab, secret).hooking("hub", write_state=meanwhile)
    record = load_record(run.workspace, secret.path)
    with pytest.raises(Conflict):
        rewrite(run.workspace, secret.path, replace(record, rest=SecretFields({"host": "kept"})))
    assert looked == [[secret.path]]
    assert stored(lab, secret) == []
    assert load_record(run.workspace, secret.path).rest is None


def test_a_candidate_of_a_killed_run_is_removed_and_one_of_a_rotation_at_work_is_not(
    lab: Lab, secret: Declared
) -> None:
    rotate(worker(lab, secret).workspace, secret.path, Trigger.FORCE)
    run = killed_at(worker(lab, secret), 1)
    record = replace(load_record(run.workspace, secret.path), rest=SecretFields({"host": "kept"}))
    with pytest.raises(Killed):
        rewrite(run.workspace, secret.path, record)
    other = lab.generated()
    open_run = worker(lab, other)
    open_run.staged()
    (left,) = stored(lab, secret)
    assert lab.hub.read_state(left)
    assert secret.path in remove_leftovers(worker(lab, secret).workspace)
    assert stored(lab, secret) == []
    assert len(stored(lab, other)) == 1
    steps.promote(open_run.workspace, steps.resume(open_run.workspace, other.path, open_run.record().rotation.token))  # type: ignore[union-attr]


def test_the_loser_of_two_runs_leaves_nothing(lab: Lab, secret: Declared) -> None:
    first, second = worker(lab, secret), worker(lab, secret, ELSEWHERE)

    def meanwhile(path: str, *args: Any, **kwargs: Any) -> None:
        if path.startswith(ROTATIONS) and not first.record().rotation:
            first.staged()

    with pytest.raises(KeyturnError):
        second.hooking("hub", write_state=meanwhile).staged()
    assert len(stored(lab, secret)) == 1
    assert first.record().candidate


# --- lost values


def test_a_lost_candidate_is_named_and_the_record_can_be_given_up(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret, dead_holder())
    run.staged()
    (place,) = stored(lab, secret)
    lab.hub.delete_state(place)
    with pytest.raises(Invalid, match=f"keyturn/{place}.*keyturn repair forget"):
        rotate(worker(lab, secret).workspace, secret.path)
    forget(worker(lab, secret).workspace, secret.path)
    assert rotate(worker(lab, secret).workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


def test_values_are_those_of_the_record_that_named_them(lab: Lab, secret: Declared) -> None:
    run = worker(lab, secret)
    run.staged()
    before = load_record(run.workspace, secret.path)
    promoted = steps.promote(run.workspace, steps.resume(run.workspace, secret.path, before.rotation.token))  # type: ignore[union-attr]
    assert promoted.rotation.stage is Stage.PROMOTED
    with pytest.raises(KeyturnError, match="another run has gone on"):
        before.candidate.reveal()  # type: ignore[union-attr]


def test_an_emptied_record_leaves_no_value(lab: Lab, secret: Declared) -> None:
    worker(lab, secret, dead_holder()).staged()
    forget(worker(lab, secret).workspace, secret.path)
    assert stored(lab, secret) == []
    assert worker(lab, secret).record().rotation is None
