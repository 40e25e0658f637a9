"""The record of a rotation: its table of steps, and its way through JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.errors import Invalid
from keyturn.core.rotation_record import CLOSED, FORMAT, HISTORY_KEPT, OPEN, TRANSITIONS, Newer, Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields, StoredFields

ALLOWED = {
    ("minting", "pending"),
    ("minting", "abandoned"),
    ("minting", "lost"),
    ("lost", "pending"),
    ("lost", "abandoned"),
    ("pending", "promoted"),
    ("pending", "abandoning"),
    ("abandoning", "abandoned"),
    ("promoted", "retired"),
    ("promoted", "retiring"),
    ("promoted", "reverting"),
    ("reverting", "reverted"),
    ("reverted", "retired"),
    ("reverted", "retiring"),
    ("retiring", "retired"),
    *((stage.value, "cut") for stage in Stage if stage not in CLOSED),
}
NOW = datetime(2025, 3, 3, 12, tzinfo=UTC)


def rotation(stage: Stage = Stage.PENDING, token: str = "token") -> Rotation:
    return Rotation(token, 7, stage, "generated", "TooOld", "host/1/1", NOW, 3)


# --- the table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), list(product(Stage, Stage)))
def test_a_rotation_moves_as_the_table_says_and_no_other_way(before: Stage, after: Stage) -> None:
    moving = rotation(before)
    if (before.value, after.value) in ALLOWED:
        assert moving.to(after, note="why") == replace(moving, stage=after, note="why")
        return
    with pytest.raises(Invalid, match=f"{before} can't become {after}"):
        moving.to(after)


def test_every_stage_stands_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Stage)


def test_every_open_rotation_can_be_closed_and_a_closed_one_stays_so() -> None:
    def reached(stage: Stage) -> set[Stage]:
        further = {stage}
        for after in TRANSITIONS[stage]:
            further |= reached(after)
        return further

    closed = {stage for stage in Stage if not TRANSITIONS[stage]}
    assert closed == {Stage.RETIRED, Stage.ABANDONED, Stage.CUT}
    assert all(reached(stage) & closed for stage in Stage)
    assert all(Stage.ABANDONED in reached(stage) for stage in OPEN - {Stage.REVERTING, Stage.CUTTING})


# --- the record --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(Stage))
def test_a_record_says_who_holds_it_and_what_waits_for_retirement(stage: Stage) -> None:
    record = Record(rotation(stage))
    assert (record.open is not None) is (stage in OPEN)
    assert (record.retiring is not None) is (stage in {Stage.PROMOTED, Stage.REVERTED, Stage.RETIRING})


@pytest.mark.parametrize("stage", [Stage.RETIRED, Stage.ABANDONED, Stage.CUT])
def test_a_closed_rotation_moves_into_the_history_and_takes_its_candidate_along(stage: Stage) -> None:
    record = Record(rotation(), SecretFields({"value": "x"}), version=4).having(rotation(stage))
    assert (record.rotation, record.candidate, record.version) == (None, None, 4)
    assert record.history == (rotation(stage),)


def test_what_a_revocation_has_ended_stays_known_however_many_rotations_are_closed_after_it() -> None:
    record = Record(rotation(Stage.CUTTING, "cut"), frozen="INC-1").having(rotation(Stage.CUT, "cut"))
    for number in range(HISTORY_KEPT + 5):
        record = record.having(rotation(Stage.ABANDONED, str(number)))
    assert [past.token for past in record.history] == ["cut", *map(str, range(5, HISTORY_KEPT + 5))]
    record = record.having(rotation(Stage.PROMOTED))
    assert (record.dead(3), record.dead(4)) == (True, False)


def test_while_a_revocation_keeps_a_secret_frozen_no_version_of_it_counts_as_alive() -> None:
    record = Record(rotation(Stage.CUTTING), frozen="INC-1").having(rotation(Stage.CUT))
    assert record.dead(99)
    assert not record.having(rotation(Stage.PROMOTED)).dead(99)


def test_a_promoted_rotation_keeps_no_candidate() -> None:
    record = Record(rotation(), SecretFields({"value": "x"})).having(rotation(Stage.PROMOTED))
    assert record.candidate is None
    assert record.retiring == rotation(Stage.PROMOTED)


def test_the_history_keeps_the_newest() -> None:
    record = Record()
    for number in range(HISTORY_KEPT + 5):
        record = record.having(rotation(Stage.RETIRED, str(number)))
    assert [past.token for past in record.history] == [str(number) for number in range(5, HISTORY_KEPT + 5)]


# --- through JSON ------------------------------------------------------------------------------------------

moments = st.datetimes(
    datetime(1990, 1, 1),
    datetime(2090, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
rotations = st.builds(
    Rotation,
    token=st.uuids().map(str),
    sequence=st.integers(1, 10**9),
    stage=st.sampled_from(Stage),
    strategy=st.text(min_size=1),
    reason=st.text(),
    holder=st.text(min_size=1),
    opened_at=moments,
    base_version=st.integers(0, 10**6),
    ends=st.dictionaries(st.text(), st.text(), max_size=3),
    version=st.none() | st.integers(0, 10**6),
    fingerprint=st.text("0123456789abcdef", max_size=64),
    promoted_at=st.none() | moments,
    closed_at=st.none() | moments,
    acknowledged=st.lists(st.text(), max_size=3).map(tuple),
    before=st.lists(st.text(), max_size=3).map(tuple),
    note=st.text(),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
candidates = st.dictionaries(st.text(min_size=1), values, min_size=1, max_size=3).map(SecretFields)


NONE = SecretFields({})
KEY = "5f0c7d2e-8f0e-4a52-9a57-0a2a1f6f3a11"


def no_values(key: str) -> StoredFields:
    raise AssertionError(f"nothing is stored as {key}")


@given(rotation=rotations)
def test_a_rotation_survives_json(rotation: Rotation) -> None:
    assert Rotation.from_data(json.loads(json.dumps(rotation.to_data()))) == rotation


@given(
    rotation=st.none() | rotations,
    candidate=st.none() | candidates,
    history=st.lists(rotations, max_size=3).map(tuple),
    version=st.integers(0, 10**6),
    age=st.floats(0, 10**6),
)
def test_a_record_survives_json(
    rotation: Rotation | None, candidate: SecretFields | None, history: tuple[Rotation, ...], version: int, age: float
) -> None:
    record = Record(
        rotation, candidate and StoredFields(f"candidates/a/{KEY}", lambda: candidate), history, version, age
    )
    data = json.loads(json.dumps(record.to_data()))
    assert Record.from_data(data, version, age, lambda key: StoredFields(key, lambda: candidate or NONE)) == record


@given(candidate=candidates)
def test_values_that_format_1_kept_in_the_record_are_read(candidate: SecretFields) -> None:
    data = {**Record(rotation()).to_data(), "format": 1, "candidate": candidate.reveal(), "rest": candidate.reveal()}
    record = Record.from_data(data, 3, 0.0, no_values)
    assert (record.candidate, record.rest, record.format) == (candidate, candidate, 1)


def test_a_record_holds_no_value() -> None:
    with pytest.raises(TypeError, match="stored before"):
        Record(rotation(), SecretFields({"password": "hunter2"})).to_data()
    named = Record(rotation(), StoredFields(f"candidates/a/{KEY}", lambda: SecretFields({"password": "hunter2"})))
    assert named.to_data()["candidate"] == KEY


def test_a_record_without_a_format_is_read_and_gets_one() -> None:
    old = {name: value for name, value in Record(rotation()).to_data().items() if name != "format"}
    assert Record.from_data(old, 3, 0.0, no_values) == Record(rotation(), version=3)
    assert Record.from_data(old, 3, 0.0, no_values).to_data()["format"] == FORMAT


@given(rotation=rotations, unknown=st.dictionaries(st.text(min_size=1).map("new-{}".format), values, min_size=1))
def test_what_a_newer_keyturn_has_added_is_kept(rotation: Rotation, unknown: dict[str, object]) -> None:
    newer = Record(replace(rotation, unknown=unknown), history=(replace(rotation, unknown=unknown),), unknown=unknown)
    read = Record.from_data(json.loads(json.dumps(newer.to_data())), 0, 0.0, no_values)
    assert read == newer
    assert (
        Record.from_data(json.loads(json.dumps(read.having(read.history[0]).to_data())), 0, 0.0, no_values).unknown
        == unknown
    )


def test_a_format_that_is_newer_is_not_read() -> None:
    with pytest.raises(Newer):
        Record.from_data(Record().to_data() | {"format": FORMAT + 1}, 1, 0.0, no_values)


def test_the_next_number_is_greater_than_all_that_the_record_and_the_target_know() -> None:
    record = Record(rotation(), history=(replace(rotation(Stage.ABANDONED), sequence=9),), version=4)
    assert [record.next_sequence(stands) for stands in (0, 9, 30)] == [10, 10, 31]
    assert Record(version=12).next_sequence() == 13


def test_a_record_does_not_show_its_candidate() -> None:
    assert "hunter2" not in repr(Record(rotation(), SecretFields({"password": "hunter2"})))


def test_refusals_are_counted_from_the_last_rotation_back() -> None:
    past = [replace(rotation(Stage.ABANDONED), refused=refused) for refused in (True, False, True, True)]
    assert Record(history=tuple(past)).refusals == 2
    assert Record(history=tuple(past[:2])).refusals == 0
    assert Record().refusals == 0
