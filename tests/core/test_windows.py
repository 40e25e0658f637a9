"""Windows and freezes, also on the days on which the clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.core.schedule.windows import Freeze, Window, change
from tests.support import sampling

MINUTE = timedelta(minutes=1)
EVERY_DAY = frozenset(range(7))


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


# --- the next opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2025-03-03T22:00:00", "2025-03-03T22:00:00"),
        ("2025-03-03T21:59:59.999999", "2025-03-03T22:00:00"),
        ("2025-03-04T04:00:00", "2025-03-04T22:00:00"),
        ("2025-03-08T04:00:00", "2025-03-10T22:00:00"),  # Saturday to Monday
    ],
)
def test_a_closed_window_opens_at_its_next_beginning(now: str, opens: str) -> None:
    assert WEEKNIGHTS.next_opening(at(now)) == at(opens)


BERLIN = "Europe/Berlin"


def berlin(days: set[int], begin: time, end: time) -> Window:
    return Window(frozenset(days), begin, end, BERLIN)


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        # The clocks jump over the beginning, into the window: it opens with the jump.
        (berlin({6}, time(2, 30), time(4)), "2025-03-29T22:00:00", "2025-03-30T01:00:00"),
        # The whole window is skipped: a week later.
        (berlin({6}, time(2), time(3)), "2025-03-29T22:00:00", "2025-04-06T00:00:00"),
        # The hour comes twice: the window opens again after it has closed.
        (berlin({6}, time(1, 30), time(2, 30)), "2025-10-26T00:30:00", "2025-10-26T01:00:00"),
        (berlin({6}, time(2, 10), time(2, 20)), "2025-10-26T00:20:00", "2025-10-26T01:10:00"),
    ],
)
def test_an_opening_follows_the_clock_on_the_wall(window: Window, now: str, opens: str) -> None:
    assert window.next_opening(at(now)) == at(opens)


def test_a_window_opens_on_the_day_after_one_that_its_zone_left_out() -> None:
    fridays = Window(frozenset({4}), time(22), time(4), "Pacific/Apia")  # Samoa had no 30 December 2011
    assert fridays.next_opening(at("2011-12-30T09:00:00")) == at("2011-12-30T10:00:00")


CHANGES = {
    "Europe/Berlin": ("2025-03-30", "2025-10-26"),
    "America/New_York": ("2025-03-09", "2025-11-02"),
    "America/Havana": ("2025-03-09", "2025-11-02"),  # at midnight, and at one o'clock back to midnight
    "America/Asuncion": ("2023-10-01", "2023-03-26"),  # at midnight, both ways
    "Australia/Lord_Howe": ("2025-10-05", "2025-04-06"),  # by half an hour
    "Africa/Casablanca": ("2025-02-23", "2025-04-06"),  # summer time all year but in Ramadan
    "Pacific/Apia": ("2011-12-29", "2011-12-31"),  # over the date line
    "Asia/Kathmandu": ("2025-01-01", "2025-07-01"),  # never, and off by a quarter
    "UTC": ("2025-01-01", "2025-07-01"),
}


@st.composite
def near_a_change(draw: st.DrawFn) -> tuple[Window, datetime]:
    """A window in some zone, and a moment within two days of a change of its clocks."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    day = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone])))
    hours = st.integers(0, 5) | st.integers(21, 23) | st.integers(0, 23)
    clocks = st.builds(time, hours, st.sampled_from([0, 1, 15, 30, 59]))
    begin, end = draw(clocks), draw(clocks)
    days = frozenset(draw(st.sets(st.integers(0, 6), min_size=1)))
    window = Window(days, begin, end if end != begin else time((begin.hour + 1) % 24), zone)
    return window, day.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + draw(st.integers(-2880, 2880)) * MINUTE


@settings(max_examples=sampling.examples(60, 300), deadline=None)
@given(near_a_change())
def test_nothing_is_open_before_the_next_opening_and_the_opening_is(found: tuple[Window, datetime]) -> None:
    window, now = found
    opens = window.next_opening(now)
    assert opens >= now
    assert window.holds(opens)
    minutes = min(int((opens - now) / MINUTE), 4 * 1440)  # what follows is an ordinary week
    assert not any(window.holds(now + minute * MINUTE) for minute in range(minutes))
    assert opens == now or not window.holds(opens - timedelta(microseconds=1))


def test_a_change_of_the_clocks_is_found_to_the_second() -> None:
    before, after = at("2025-03-29T23:00:00"), at("2025-03-30T22:00:00")
    assert change(before, after, ZoneInfo(BERLIN)) == at("2025-03-30T01:00:00")


# --- freezes -----------------------------------------------------------------------------------------------


def test_a_freeze_holds_its_beginning_and_not_its_end() -> None:
    freeze = Freeze("christmas", at("2026-12-20T17:00:00"), at("2027-01-02T07:00:00"), "nobody is here")
    assert [freeze.holds(freeze.begins + offset) for offset in (-MINUTE, 0 * MINUTE)] == [False, True]
    assert [freeze.holds(freeze.ends + offset) for offset in (-MINUTE, 0 * MINUTE)] == [True, False]
