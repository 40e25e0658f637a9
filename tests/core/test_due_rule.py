"""Whether a rotation is due, decided from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.core.schedule.cron import Cron
from keyturn.core.schedule.due import (
    Facts,
    Freeze,
    Reason,
    Schedule,
    Trigger,
    Window,
    alarm,
    delay,
    due,
    due_at,
    outlook,
)
from tests.support import sampling

DAY = timedelta(days=1)
ROTATED = datetime(2025, 3, 3, 12, tzinfo=UTC)  # a Monday
EVERY_DAY = frozenset(range(7))


def facts(age: timedelta, trigger: Trigger = Trigger.SCHEDULE, **schedule: Any) -> Facts:
    policy = Schedule(**{"interval": 30 * DAY, **schedule})  # type: ignore[arg-type]
    return Facts("ml/database", policy, ROTATED + age, ROTATED, trigger)


def code(facts: Facts) -> str | None:
    reason = due(facts)
    return reason.code if reason else None


def sounding(facts: Facts) -> str | None:
    reason = alarm(facts)
    return reason.code if reason else None


def after(days: float) -> datetime:
    return ROTATED + days * DAY


def frozen(begin: float, end: float, name: str = "christmas") -> Freeze:
    return Freeze(name, after(begin), after(end), "nobody is here")


CLOSED = Window(EVERY_DAY, time(2), time(3), "UTC")
"""Nine hours before the hour at which the secret was rotated."""


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
    assert reason.message == "rotated 2025-03-03 12:00 UTC, due since 2025-04-02 12:00 UTC"


def test_a_closed_window_holds_back_age_and_nothing_else() -> None:
    assert code(facts(31 * DAY, window=CLOSED)) is None
    assert code(facts(31 * DAY, Trigger.FORCE, window=CLOSED)) == "Forced"
    assert code(facts(41 * DAY, window=CLOSED, maximum_age=40 * DAY)) == "BeyondMaximumAge"
    assert code(replace(facts(DAY, window=CLOSED), rotated_at=None)) == "NeverMade"
    assert code(facts(31 * DAY + timedelta(hours=14, minutes=30), window=CLOSED)) == "TooOld"


# --- events and suspicions ---------------------------------------------------------------------------------


def test_an_event_waits_for_window_and_freeze() -> None:
    asked = facts(DAY, Trigger.EVENT)
    assert code(asked) == "Wanted"
    assert code(replace(asked, schedule=Schedule(30 * DAY, window=CLOSED))) is None
    assert code(replace(asked, freezes=[frozen(0, 2)])) is None
    assert code(replace(asked, waits_until=after(2))) is None


@pytest.mark.parametrize(("field", "expected"), [("wanted_at", "Wanted"), ("suspected_at", "Compromised")])
@pytest.mark.parametrize("days", [-0.5, 0.0, 0.5])
def test_what_was_asked_for_of_this_credential_counts_whatever_clocks_say(
    field: str, expected: str, days: float
) -> None:
    marked: dict[str, datetime] = {field: after(days)}
    assert code(replace(facts(DAY), **marked)) == expected  # type: ignore[arg-type]


def test_nothing_but_the_pause_after_a_failed_try_holds_a_suspected_secret() -> None:
    suspected = replace(
        facts(DAY, window=CLOSED), suspected_at=after(0.5), freezes=[frozen(0, 2)], wanted_at=after(0.1)
    )
    assert code(suspected) == "Compromised"
    paused = replace(suspected, waits_until=after(1.5))
    assert code(paused) is None
    assert code(replace(paused, now=after(1.5))) == "Compromised"
    assert code(replace(paused, trigger=Trigger.COMPROMISE)) == "Compromised"
    assert code(replace(paused, trigger=Trigger.FORCE)) == "Forced"


# --- freezes and pauses ------------------------------------------------------------------------------------


def test_a_freeze_holds_back_all_but_a_person_a_suspicion_and_a_credential_that_would_end_in_it() -> None:
    freeze = [frozen(30, 60)]
    late = replace(facts(50 * DAY, maximum_age=40 * DAY), freezes=freeze)
    assert code(late) is None
    assert code(replace(late, rotated_at=None)) is None
    assert code(replace(late, wanted_at=after(20))) is None
    assert code(replace(late, trigger=Trigger.EVENT)) is None
    assert code(replace(late, trigger=Trigger.FORCE)) == "Forced"
    assert code(replace(late, trigger=Trigger.COMPROMISE)) == "Compromised"
    assert code(replace(late, suspected_at=after(20))) == "Compromised"
    assert code(replace(late, expires_at=after(55))) == "Expiring"
    assert code(replace(late, now=after(60))) == "BeyondMaximumAge"


def test_the_schedule_does_not_try_again_before_the_pause_is_over() -> None:
    paused = replace(facts(41 * DAY, maximum_age=40 * DAY), waits_until=after(42))
    assert code(paused) is None
    assert code(replace(paused, trigger=Trigger.EVENT)) is None
    assert code(replace(paused, now=after(42))) == "BeyondMaximumAge"


# --- credentials that end by themselves --------------------------------------------------------------------


def test_an_interval_that_its_life_has_room_for_is_kept() -> None:
    leased = replace(facts(29 * DAY), expires_at=after(32))
    assert code(leased) is None
    assert code(replace(leased, now=after(30))) == "TooOld"
    closed = replace(leased, schedule=Schedule(30 * DAY, window=CLOSED))
    assert code(replace(closed, now=after(30))) == "Expiring"


@pytest.mark.parametrize(
    ("age", "expected"), [(0.0, None), (19.99, None), (20.01, "Expiring"), (29, "Expiring"), (99, "Expiring")]
)
def test_a_credential_is_replaced_when_two_thirds_of_its_life_are_over(age: float, expected: str | None) -> None:
    by_its_end_alone = replace(facts(age * DAY), schedule=Schedule(), expires_at=after(30))
    assert code(by_its_end_alone) == expected


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        (frozen(20, 26), None),  # there is time for it afterwards
        (frozen(20, 27), "Expiring"),  # a tenth of its life would be left: too little
        (frozen(20, 40), "Expiring"),  # it would end in the freeze
    ],
)
def test_a_freeze_holds_it_only_where_there_is_time_afterwards(freeze: Freeze, expected: str | None) -> None:
    ending = replace(facts(21 * DAY), expires_at=after(30), freezes=[freeze])
    assert code(ending) == expected


def test_rotating_in_spite_of_a_freeze_is_an_alarm_that_names_it() -> None:
    reason = due(replace(facts(21 * DAY), expires_at=after(30), freezes=[frozen(20, 40)]))
    assert reason == Reason(
        "Expiring",
        "its life ends 2025-04-02 12:00 UTC, due since 2025-03-23 12:00 UTC; too late to wait for "
        "the freeze christmas until 2025-04-12 12:00 UTC (nobody is here)",
        alarm=True,
    )
    calm = due(replace(facts(21 * DAY), expires_at=after(30)))
    assert calm is not None
    assert not calm.alarm


def test_a_window_that_opens_too_late_does_not_hold_it() -> None:
    sundays = Window(frozenset({6}), time(2), time(3), "UTC")
    soon = replace(facts(0.8 * DAY, window=sundays), expires_at=after(1))
    assert code(soon) == "Expiring"
    assert code(replace(soon, now=after(12.1), expires_at=after(18))) is None  # Sunday is tomorrow


def test_an_end_that_never_comes_makes_nothing_due_in_our_time() -> None:
    never = replace(
        facts(9 * DAY), schedule=Schedule(window=CLOSED), expires_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    )
    assert code(never) is None
    at = outlook(never).at
    assert at is not None
    assert at.year > 7000


# --- alarms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_facts", "expected"),
    [
        (facts(40 * DAY), None),
        (facts(40 * DAY, maximum_age=40 * DAY), "BeyondMaximumAge"),
        (facts(39 * DAY, maximum_age=40 * DAY), None),
        (replace(facts(26 * DAY), expires_at=after(30)), None),
        (replace(facts(27 * DAY), expires_at=after(30)), "Expiring"),
        (replace(facts(30 * DAY), expires_at=after(30)), "Expired"),
        (replace(facts(DAY), suspected_at=after(0.5)), "Compromised"),
        (replace(facts(DAY), suspected_at=ROTATED), "Compromised"),
        (replace(facts(DAY), wanted_at=after(0.5)), None),
        (replace(facts(DAY), rotated_at=None), None),
    ],
)
def test_an_alarm_sounds_for_what_is_late(given_facts: Facts, expected: str | None) -> None:
    assert sounding(given_facts) == expected
    assert outlook(given_facts).alarm is (expected is not None)
    held = replace(given_facts, freezes=[frozen(0, 99)], waits_until=after(99))
    assert sounding(held) == expected


def test_an_alarm_names_what_holds_the_secret() -> None:
    reason = alarm(replace(facts(41 * DAY, maximum_age=40 * DAY), freezes=[frozen(30, 50)]))
    assert reason == Reason(
        "BeyondMaximumAge",
        "rotated 2025-03-03 12:00 UTC, beyond its maximum age since 2025-04-12 12:00 UTC; held by "
        "the freeze christmas until 2025-04-22 12:00 UTC (nobody is here)",
        alarm=True,
    )


# --- cron --------------------------------------------------------------------------------------------------

SUNDAYS = Cron("0 3 * * sun", "Europe/Berlin")


def by_cron(age: timedelta, **schedule: Any) -> Facts:
    return facts(age, interval=None, cron=SUNDAYS, **schedule)


def test_a_cron_makes_due_what_was_rotated_before_its_last_run() -> None:
    first = datetime(2025, 3, 9, 2, tzinfo=UTC)
    waiting = by_cron(DAY)
    assert due_at(waiting) == first
    assert code(replace(waiting, now=first - timedelta(seconds=1))) is None
    assert code(replace(waiting, now=first)) == "Scheduled"
    assert code(replace(waiting, now=first + 10 * DAY)) == "Scheduled"  # a run that was missed is made up for
    assert due_at(replace(waiting, rotated_at=first)) == first + 7 * DAY
    reason = due(replace(waiting, now=first))
    assert reason is not None
    assert reason.message == "rotated 2025-03-03 12:00 UTC, due by its cron since 2025-03-09 02:00 UTC"


def test_jitter_puts_a_secrets_own_share_on_top_of_every_run() -> None:
    runs = [due_at(replace(by_cron(DAY, jitter=timedelta(hours=2)), rotated_at=after(7 * n))) for n in range(3)]
    share = delay("ml/database", timedelta(hours=2))
    assert runs == [datetime(2025, 3, 9, 2, tzinfo=UTC) + 7 * n * DAY + share for n in range(3)]


def test_with_neither_interval_nor_cron_age_makes_nothing_due() -> None:
    idle = replace(facts(9999 * DAY), schedule=Schedule())
    assert due_at(idle) is None
    assert code(idle) is None
    found = outlook(idle)
    assert (found.at, found.reason, found.held_by, found.alarm) == (None, "nothing makes it due", "", False)


# --- the outlook -------------------------------------------------------------------------------------------


def test_the_outlook_names_the_moment_and_what_moved_it() -> None:
    found = outlook(replace(facts(DAY, window=CLOSED), freezes=[frozen(25, 35), frozen(34, 40, "move")]))
    assert found.at == datetime(2025, 4, 13, 2, tzinfo=UTC)
    assert found.reason == "rotated 2025-03-03 12:00 UTC, due from 2025-04-02 12:00 UTC on"
    assert found.held_by == (
        "the freeze christmas until 2025-04-07 12:00 UTC (nobody is here); "
        "the freeze move until 2025-04-12 12:00 UTC (nobody is here); "
        "its window, which opens 2025-04-13 02:00 UTC"
    )


def test_the_outlook_of_what_is_due_is_now_and_of_what_is_paused_its_end() -> None:
    now = outlook(facts(31 * DAY))
    assert (now.at, now.held_by) == (after(31), "")
    paused = outlook(replace(facts(31 * DAY), waits_until=after(32)))
    assert paused.at == after(32)
    assert paused.held_by == "a pause until 2025-04-04 12:00 UTC, since the rotation before was taken back"


moments = st.integers(0, 4 * 60 * 24).map(lambda quarters: ROTATED + quarters * timedelta(minutes=15))
perhaps = st.none() | moments
windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from([time(2), time(22)]),
    st.sampled_from([time(3), time(5, 30)]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
freezes = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda days: frozen(days[0], days[0] + days[1])), max_size=3
)
schedules = st.builds(
    Schedule,
    interval=st.sampled_from([7 * DAY, 30 * DAY]),
    jitter=st.sampled_from([timedelta(0), DAY]),
    maximum_age=st.sampled_from([None, 35 * DAY]),
    window=st.none() | windows,
) | st.builds(Schedule, window=st.none() | windows, cron=st.sampled_from([None, SUNDAYS]))
anything = st.builds(
    Facts,
    st.just("ml/database"),
    schedules,
    moments,
    st.none() | st.just(ROTATED),
    st.sampled_from(Trigger),
    expires_at=perhaps,
    wanted_at=perhaps,
    suspected_at=perhaps,
    waits_until=perhaps,
    freezes=freezes,
)


@settings(max_examples=sampling.examples(60, 300), deadline=None)
@given(anything)
def test_a_secret_is_due_at_its_outlook_and_not_a_quarter_of_an_hour_earlier(given_facts: Facts) -> None:
    found = outlook(given_facts)
    reason = due(given_facts)
    assert (reason is not None) is (found.at == given_facts.now)
    if reason:
        assert found.reason == reason.message
    if found.at is None:
        return
    assert due(replace(given_facts, now=found.at)) is not None
    steps = min((found.at - given_facts.now) // timedelta(minutes=15), 1000)
    earlier = (found.at - step * timedelta(minutes=15) - timedelta(seconds=1) for step in range(steps))
    assert not any(due(replace(given_facts, now=now)) for now in earlier)


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
