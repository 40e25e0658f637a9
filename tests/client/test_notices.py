"""The words of a notice, written and read back."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.notifications.notices import SECRET_REVOKED, SECRET_ROTATED, Notice, message_id

NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))

notices = st.builds(
    Notice,
    event=st.text(min_size=1),
    secret_path=st.text(min_size=1),
    version=st.integers(min_value=1),
    timestamp=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
)


def test_a_notice_says_four_things_and_no_more() -> None:
    assert json.loads(NOTICE.to_json()) == {
        "event": "secret_rotated",
        "secret_path": "ml-training/database",
        "version": 7,
        "timestamp": "2025-03-01T12:30:00Z",
    }


def test_the_timestamp_is_told_in_utc_wherever_it_was_taken() -> None:
    abroad = NOTICE.timestamp.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert (
        Notice(SECRET_ROTATED, "a", 1, abroad).to_json() == Notice(SECRET_ROTATED, "a", 1, NOTICE.timestamp).to_json()
    )


def test_a_revocation_says_whether_anything_takes_its_place() -> None:
    ended = Notice(SECRET_REVOKED, "a", 7, NOTICE.timestamp, replaced=False)
    assert json.loads(ended.to_json())["replaced"] is False
    assert Notice.from_json(ended.to_json()) == ended
    assert ended.oldest_served == 8
    assert json.loads(Notice(SECRET_REVOKED, "a", 7, NOTICE.timestamp).to_json())["replaced"] is True
    assert NOTICE.oldest_served == 7


def test_that_a_version_has_ended_has_another_id_than_that_the_one_before_it_has() -> None:
    ids = {message_id("a", 7, SECRET_REVOKED, replaced=replaced) for replaced in (True, False)}
    assert len(ids | {message_id("a", 7, SECRET_ROTATED)}) == 3


@given(notices)
def test_a_notice_reads_back_as_it_was_written(notice: Notice) -> None:
    assert Notice.from_json(notice.to_json()) == notice


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert Notice.from_json(json.dumps({**json.loads(NOTICE.to_json()), "severity": "high"})) == NOTICE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"\xff\xfe\x00",
        b"[]",
        b"[" * 50_000,
        b"null",
        b"{}",
        b'{"event": 1, "secret_path": "a", "version": 1, "timestamp": "2025-03-01T12:30:00Z"}',
        b'{"event": "", "secret_path": "a", "version": 1, "timestamp": "2025-03-01T12:30:00Z"}',
        b'{"event": "e", "secret_path": "a", "version": true, "timestamp": "2025-03-01T12:30:00Z"}',
        b'{"event": "e", "secret_path": "a", "version": 0, "timestamp": "2025-03-01T12:30:00Z"}',
        b'{"event": "e", "secret_path": "a", "version": "1", "timestamp": "2025-03-01T12:30:00Z"}',
        b'{"event": "e", "secret_path": "a", "version": 1, "timestamp": "yesterday"}',
        b'{"event": "e", "secret_path": "a", "version": 1, "timestamp": "2025-03-01T12:30:00"}',
        b'{"event": "e", "secret_path": "a", "version": 1, "timestamp": "9999-12-31T23:59:59-12:00"}',
    ],
)
def test_a_malformed_body_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the body|event|version|timestamp) "):
        Notice.from_json(body)


def test_the_message_id_is_the_same_in_every_run_and_its_own_for_every_event() -> None:
    assert message_id("ml-training/database", 7, SECRET_ROTATED) == "msg_2974357f614d56d1a67116c34770251a"
    told = [("a", 1, "e"), ("a", 2, "e"), ("b", 1, "e"), ("a", 1, "f"), ('a", 1', 1, "e")]
    assert len({message_id(*one) for one in told}) == len(told)
