"""Whether a rotation is due, decided from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.policy import Facts, Schedule, Trigger, Window, delay, due, due_at

DAY = timedelta(days=1)
ROTATED = datetime(2025, 3, 3, 12, tzinfo=UTC)  # a Monday
EVERY_DAY = frozenset(range(7))


def facts(age: timedelta, trigger: Trigger = Trigger.SCHEDULE, **schedule: object) -> Facts:
    policy = Schedule(**{"interval": 30 * DAY, **schedule})  # type: ignore[arg-type]
    return Facts("ml/database", policy, ROTATED + age, ROTATED, trigger)


def code(facts: Facts) -> str | None:
    reason = due(facts)
    return reason.code if reason else None


# --- reasons -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_facts", "expected"),
    [
        (facts(30 * DAY - timedelta(microseconds=1)), None),
        (facts(30 * DAY), "TooOld"),
        (facts(DAY, Trigger.FORCE), "Forced"),
        (facts(90 * DAY, Trigger.FORCE), "Forced"),
        (replace(facts(DAY), rotated_at=None), "NeverMade"),
        (facts(40 * DAY, maximum_age=40 * DAY), "BeyondMaximumAge"),
        (facts(39 * DAY, maximum_age=40 * DAY), "TooOld"),
        (facts(-DAY), None),
    ],
)
def test_a_secret_is_due_for_the_first_reason_that_holds(given_facts: Facts, expected: str | None) -> None:
    assert code(given_facts) == expected


def test_only_a_secret_beyond_its_maximum_age_is_an_alarm() -> None:
    late, on_time = due(facts(41 * DAY, maximum_age=40 * DAY)), due(facts(31 * DAY, maximum_age=40 * DAY))
    assert late is not None
    assert on_time is not None
    assert (late.alarm, on_time.alarm) == (True, False)


def test_a_reason_says_since_when() -> None:
    reason = due(facts(31 * DAY))
    assert reason is not None
    assert reason.message == "rotated 2025-03-03 12:00, due since 2025-04-02 12:00"


def test_a_closed_window_holds_back_age_and_nothing_else() -> None:
    closed = Window(EVERY_DAY, time(2), time(3), "UTC")
    assert code(facts(31 * DAY, window=closed)) is None
    assert code(facts(31 * DAY, Trigger.FORCE, window=closed)) == "Forced"
    assert code(facts(41 * DAY, window=closed, maximum_age=40 * DAY)) == "BeyondMaximumAge"
    assert code(replace(facts(DAY, window=closed), rotated_at=None)) == "NeverMade"
    assert code(facts(31 * DAY + timedelta(hours=14, minutes=30), window=closed)) == "TooOld"


# --- jitter ------------------------------------------------------------------------------------------------


@given(path=st.text(min_size=1), jitter=st.timedeltas(timedelta(0), timedelta(days=365)))
def test_a_secrets_share_of_the_jitter_is_stable_and_within_it(path: str, jitter: timedelta) -> None:
    share = delay(path, jitter)
    assert share == delay(path, jitter)
    assert timedelta(0) <= share <= jitter
    assert share < jitter or jitter < timedelta(milliseconds=1)


def test_jitter_spreads_secrets_over_its_whole_length() -> None:
    shares = sorted(delay(f"secret-{number}", 100 * DAY) / DAY for number in range(1000))
    assert all(abs(share - number / 10) < 6 for number, share in enumerate(shares))


def test_jitter_never_makes_a_secret_due_before_its_interval() -> None:
    spread = facts(DAY, jitter=10 * DAY)
    at = due_at(spread)
    assert at is not None
    assert ROTATED + 30 * DAY <= at < ROTATED + 40 * DAY
    assert code(replace(spread, now=at - timedelta(seconds=1))) is None
    assert code(replace(spread, now=at)) == "TooOld"


# --- windows -----------------------------------------------------------------------------------------------


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


WEEKNIGHTS = Window(frozenset({0, 1, 2, 3, 4}), time(22), time(4), "UTC")
"""Monday to Friday, into the next morning."""


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2025-03-03T21:59:59", False),
        ("2025-03-03T22:00:00", True),
        ("2025-03-04T00:00:00", True),
        ("2025-03-04T03:59:59", True),
        ("2025-03-04T04:00:00", False),
        ("2025-03-08T03:59:59", True),  # Saturday morning belongs to Friday's window
        ("2025-03-08T22:30:00", False),  # Saturday evening
        ("2025-03-09T23:00:00", False),  # Sunday evening
        ("2025-03-10T01:00:00", False),  # Monday morning would be Sunday's window
        ("2025-03-10T22:00:00", True),
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_it_begins(moment: str, inside: bool) -> None:
    assert WEEKNIGHTS.holds(at(moment)) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [("09:29:59", False), ("09:30:00", True), ("16:59:59", True), ("17:00:00", False)],
)
def test_a_window_holds_its_beginning_and_not_its_end(moment: str, inside: bool) -> None:
    window = Window(EVERY_DAY, time(9, 30), time(17), "UTC")
    assert window.holds(at(f"2025-03-03T{moment}")) is inside


def test_a_window_is_read_in_its_own_zone_whatever_the_clock_speaks() -> None:
    window = Window(EVERY_DAY, time(9), time(10), "Asia/Tokyo")
    moment = at("2025-03-03T00:30:00")
    assert window.holds(moment)
    assert window.holds(moment.astimezone(ZoneInfo("America/New_York")))
    assert not window.holds(at("2025-03-03T09:30:00"))


def test_days_are_those_of_the_windows_zone() -> None:
    sundays = Window(frozenset({6}), time(0), time(23, 59), "Pacific/Auckland")
    assert sundays.holds(at("2025-03-08T12:00:00"))  # Saturday in UTC
    assert not sundays.holds(at("2025-03-09T12:00:00"))  # Monday there


def test_a_window_in_the_hour_that_spring_skips_does_not_open_that_day() -> None:
    window = Window(EVERY_DAY, time(2), time(3), "Europe/Berlin")
    skipped = [at("2025-03-30T00:00:00") + timedelta(minutes=minute) for minute in range(0, 240, 10)]
    assert not any(window.holds(moment) for moment in skipped)
    assert window.holds(at("2025-03-29T01:30:00"))
    assert window.holds(at("2025-03-31T00:30:00"))


def test_a_window_in_the_hour_that_autumn_repeats_opens_twice() -> None:
    window = Window(EVERY_DAY, time(2), time(3), "Europe/Berlin")
    open_minutes = [m for m in range(240) if window.holds(at("2025-10-26T00:00:00") + timedelta(minutes=m))]
    assert open_minutes == list(range(120))


def test_a_window_across_a_change_of_the_clocks_keeps_its_local_ends() -> None:
    window = Window(frozenset({5}), time(23), time(5), "Europe/Berlin")
    assert window.holds(at("2025-03-29T22:00:00"))  # 23:00 CET, Saturday
    assert window.holds(at("2025-03-30T02:59:00"))  # 04:59 CEST, Sunday
    assert not window.holds(at("2025-03-30T03:00:00"))  # 05:00 CEST
    assert window.holds(at("2025-10-26T03:59:00"))  # 04:59 CET
    assert not window.holds(at("2025-10-26T04:00:00"))  # 05:00 CET


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    begin=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    end=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
)
def test_a_window_and_its_opposite_never_hold_at_once(moment: datetime, begin: time, end: time) -> None:
    if begin == end:
        return
    there, back = Window(EVERY_DAY, begin, end, "Europe/Berlin"), Window(EVERY_DAY, end, begin, "Europe/Berlin")
    assert there.holds(moment) is not back.holds(moment)
