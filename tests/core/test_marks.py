"""Moments that come round."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.marks import has_come_round, latest_mark, mark_at_least, next_mark

FIVE, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_marks_are_full_hours_and_midnights_in_utc_and_an_offset_moves_them() -> None:
    moment = NOON + timedelta(minutes=7, seconds=3)
    assert latest_mark(moment, HOUR) == NOON
    assert latest_mark(moment, DAY) == NOON - timedelta(hours=12)
    assert latest_mark(moment, HOUR, timedelta(minutes=7)) == NOON + timedelta(minutes=7)
    assert latest_mark(moment, HOUR, timedelta(minutes=8)) == NOON - timedelta(minutes=52)


def test_the_next_mark_is_later_and_the_one_at_least_may_be_now() -> None:
    assert next_mark(NOON, FIVE) == NOON + FIVE
    assert mark_at_least(NOON, FIVE) == NOON
    assert mark_at_least(NOON + timedelta(seconds=1), FIVE) == next_mark(NOON + timedelta(seconds=1), FIVE)


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [
        (None, NOON, True),
        (NOON, NOON + timedelta(minutes=6), False),
        (NOON, NOON + timedelta(minutes=7), True),
        (NOON + timedelta(minutes=7), NOON + timedelta(minutes=22), False),
        (NOON - timedelta(hours=3), NOON, True),
    ],
)
def test_what_comes_round_is_due_once_a_mark_has_passed_since(since: datetime | None, now: datetime, due: bool) -> None:
    assert has_come_round(since, now, HOUR, timedelta(minutes=7)) is due


def test_rounds_of_a_quarter_meet_each_hourly_and_daily_mark_once() -> None:
    rounds = [NOON + timedelta(minutes=15) * count for count in range(96)]
    for every, met in ((HOUR, 24), (DAY, 1)):
        for minute in range(60):
            offset = timedelta(minutes=minute)
            before = [rounds[0] - timedelta(minutes=15), *rounds]
            turns = [has_come_round(since, now, every, offset) for since, now in zip(before, rounds, strict=False)]
            assert sum(turns) == met
