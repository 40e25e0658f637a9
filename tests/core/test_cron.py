"""Cron expressions: when they come round, also on the days on which the clocks change, and how far apart."""

from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.core.schedule.cron import Cron, cron_flaw
from keyturn.core.schedule.windows import change, instant
from tests.support import sampling

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN = "Europe/Berlin"
CHANGES = {
    BERLIN: ("2025-03-30", "2025-10-26"),
    "America/New_York": ("2025-03-09", "2025-11-02"),
    "America/Havana": ("2025-03-09", "2025-11-02"),
    "America/Asuncion": ("2023-10-01", "2023-03-26"),
    "Australia/Lord_Howe": ("2025-10-05", "2025-04-06"),
    "UTC": ("2025-01-01", "2025-07-01"),
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "comes"),
    [
        ("0 3 * * sun", "2025-03-03T12:00:00", "2025-03-09T02:00:00"),
        ("0 3 * * sun", "2025-03-09T02:00:00", "2025-03-16T02:00:00"),
        ("0 3 * * sun", "2025-03-09T01:59:59.999999", "2025-03-09T02:00:00"),
        ("0 3 * * SUN", "2025-06-03T12:00:00", "2025-06-08T01:00:00"),
        ("30 2 1 * *", "2025-03-03T12:00:00", "2025-04-01T00:30:00"),
        ("0 0 l 2 *", "2025-02-03T12:00:00", "2025-02-27T23:00:00"),  # the last day of the month
        ("0 12 * * mon#1", "2025-03-03T11:00:00", "2025-04-07T10:00:00"),  # the first Monday
        ("30 2 30 3 *", "2025-03-01T00:00:00", "2025-03-30T01:00:00"),  # skipped: as soon as the clocks have gone on
        ("30 2 26 10 *", "2025-10-25T12:00:00", "2025-10-26T00:30:00"),  # repeated: the first time
        ("30 2 * * *", "2025-10-26T00:30:00", "2025-10-27T01:30:00"),  # and not the second
        ("30 2 * * *", "2025-10-26T01:15:00", "2025-10-27T01:30:00"),  # nor from in between
    ],
)
def test_the_next_run_is_read_on_the_clock_on_the_wall(expression: str, after: str, comes: str) -> None:
    assert Cron(expression, BERLIN).next(at(after)) == at(comes)


def test_the_clock_that_asks_makes_no_difference() -> None:
    cron = Cron("0 3 * * sun", BERLIN)
    after = at("2025-03-03T12:00:00")
    assert cron.next(after) == cron.next(after.astimezone(ZoneInfo("Asia/Tokyo")))


def test_what_comes_round_once_in_a_generation_has_no_distances() -> None:
    assert Cron("0 0 * 2 mon#5", "UTC").next(at("2044-03-01T00:00:00")) == at("2072-02-29T00:00:00")
    assert Cron("0 0 29 2 mon#5", "UTC").distances() is not None  # on the 29th, or on a fifth Monday
    assert Cron("0 0 * 2 mon#5", "UTC").distances() is None


# --- against what Debian's cron does -----------------------------------------------------------------------

near_changes = st.sampled_from(sorted(CHANGES)).flatmap(
    lambda zone: st.tuples(st.just(zone), st.sampled_from(CHANGES[zone]).map(datetime.fromisoformat))
)


def until(cron: Cron, begin: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda run: run < end, cron.runs(begin)))


@settings(max_examples=sampling.examples(40, 150), deadline=None)
@given(near_changes, st.integers(0, 23), st.integers(0, 59), st.integers(-2880, 2880))
def test_a_set_time_comes_once_a_day_and_late_where_it_is_skipped(
    change_day: tuple[str, datetime], hour: int, minute: int, offset: int
) -> None:
    name, day = change_day
    zone = ZoneInfo(name)
    expected = []
    for local in (datetime.combine(day + number * DAY, time(hour, minute)) for number in range(-4, 8)):
        found = instant(local, zone)
        if found.astimezone(zone).replace(tzinfo=None) != local:
            found = change(found - 4 * HOUR, found + 4 * HOUR, zone)
        expected.append(found)
    begin = instant(day, zone) + offset * MINUTE
    end = begin + 3 * DAY
    assert until(Cron(f"{minute} {hour} * * *", name), begin, end) == [run for run in expected if begin < run < end]


@settings(max_examples=sampling.examples(30, 60), deadline=None)
@given(near_changes, st.sampled_from(["*/30 * * * *", "*/20 1,2,3 * * *", "15 * * * *"]), st.integers(-2880, 2880))
def test_what_runs_all_the_time_runs_through_the_change(
    change_day: tuple[str, datetime], expression: str, offset: int
) -> None:
    name, day = change_day
    zone = ZoneInfo(name)
    begin = instant(day, zone) + offset * MINUTE
    end = begin + DAY
    minutes = (begin + number * MINUTE for number in range(1, 1440))
    minute, hour = (set(part) for part in READ[expression])
    expected = [m for m in minutes if m.astimezone(zone).minute in minute and m.astimezone(zone).hour in hour]
    assert until(Cron(expression, name), begin, end) == expected


READ = {
    "*/30 * * * *": (range(0, 60, 30), range(24)),
    "*/20 1,2,3 * * *": (range(0, 60, 20), (1, 2, 3)),
    "15 * * * *": ((15,), range(24)),
}


# --- distances ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "shortest", "longest"),
    [
        ("0 3 * * sun", "UTC", 7 * DAY, 7 * DAY),
        ("0 3 * * sun", BERLIN, 7 * DAY - HOUR, 7 * DAY + HOUR),
        ("0 3 1 * *", "UTC", 28 * DAY, 31 * DAY),
        ("0 3 29 2 *", "UTC", 1461 * DAY, 1461 * DAY),
        ("0 0 1 1,7 *", "UTC", 181 * DAY, 184 * DAY),
        ("0 * * * *", BERLIN, HOUR, HOUR),
        ("* 3 * * sun", "UTC", MINUTE, 7 * DAY - 59 * MINUTE),
        ("30 1,2 * * *", BERLIN, 30 * MINUTE, 24 * HOUR),
    ],
)
def test_the_distances_between_runs_are_known(
    expression: str, zone: str, shortest: timedelta, longest: timedelta
) -> None:
    assert Cron(expression, zone).distances() == (shortest, longest)


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 3 * * sun", None),
        ("0 3 * * 0-7", None),
        ("@weekly", "has not five fields"),
        ("", "has not five fields"),
        ("0 0 3 * * sun", "has not five fields"),
        ("60 3 * * sun", "bad minute"),
        ("0 3 * * sunday", "bad day-of-week"),
        ("0 3 30 2 *", "bad day-of-month"),
    ],
)
def test_a_mistake_is_told_by_its_field(expression: str, said: str | None) -> None:
    assert cron_flaw(expression) == said


@given(st.text(max_size=30) | st.text(alphabet="0123456789*/,-#L WMONFRI", max_size=30))
def test_whatever_is_written_is_read_or_refused(expression: str) -> None:
    said = cron_flaw(expression)
    assert said is None or said
    if said is None:
        cron = Cron(expression, "UTC")
        first = cron.next(at("2025-01-01T00:00:00"))
        assert first is None or first > at("2025-01-01T00:00:00")
