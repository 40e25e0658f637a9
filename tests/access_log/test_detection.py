"""What is odd about an access: the documented scores, the window, zones, and what many odd ones become."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.access_log.detection import grouping as groups
from keyturn.access_log.detection import reorder, window
from keyturn.access_log.detection.alerts import Alert, Level
from keyturn.access_log.detection.compare import compare_alerts
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy, Tuning
from keyturn.access_log.detection.rules.registry import RULES
from keyturn.access_log.hub_reads import parse_time
from keyturn.core.ports.access import Access
from tests.support import sampling

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
"""A Wednesday."""
NIGHT = NOON.replace(hour=23)
EVERYTHING = MonitorPolicy(alert=0)
"""Whatever scores at all is told."""


def access(at: datetime = NOON, path: str = "ml/db", source: str = "10.0.0.1", who: str = "app", **more: Any) -> Access:
    return Access(at, "hub", path, more.pop("version", 1), who, source, **more)


def after(minutes: float = 1, of: datetime = NOON, **more: Any) -> Access:
    return access(of + timedelta(minutes=minutes), **more)


def alerts(accesses: Iterable[Access], policy: MonitorPolicy = EVERYTHING) -> list[Alert]:
    return list(Detector(SamePolicy(policy)).alerts(accesses))


def scores(accesses: Iterable[Access], policy: MonitorPolicy = EVERYTHING) -> dict[datetime, float]:
    """The score of each access that has one."""
    return {event.at: event.score / 1000 for alert in alerts(accesses, policy) for event in alert.events}


def last_score(*accesses: Access, policy: MonitorPolicy = EVERYTHING) -> float:
    """What the last of them scores."""
    return scores(accesses, policy).get(accesses[-1].at, 0)


# --- the documented scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "score", "factors"),
    [
        (after(), 0, set()),
        (access(NIGHT), 0.2, {"hours"}),
        (after(source="203.0.113.9"), 0.4, {"new-address"}),
        (after(path="ml/key"), 0.3, {"new-path"}),
        (after(path="ml/key", source="203.0.113.9"), 0.7, {"new-path", "new-address"}),
        (access(NIGHT, path="ml/key", source="203.0.113.9"), 0.9, {"new-path", "new-address", "hours"}),
    ],
)
def test_the_six_documented_events(odd: Access, score: float, factors: set[str]) -> None:
    assert last_score(access(), odd) == score
    told = alerts([access(), odd])
    assert {factor.name for alert in told for factor in alert.factors} == factors


def test_more_accesses_a_day_than_the_limit_score() -> None:
    policy = MonitorPolicy(alert=0, limit=3)
    reads = [after(minute) for minute in range(4)]
    assert scores(reads, policy) == {reads[3].at: 0.3}
    day_later = after(of=NOON + timedelta(days=1), minutes=1.5)
    assert scores([*reads, day_later], policy) == {reads[3].at: 0.3}, "two of them are older than 24 hours by then"


def test_all_four_make_a_high_alert_with_its_factors_and_accesses() -> None:
    policy = MonitorPolicy(limit=1)
    (alert,) = alerts([access(), access(NIGHT, path="ml/key", source="2001:db8::9", agent="curl/8")], policy)
    assert (alert.level, alert.score, alert.count, alert.principal) == (Level.HIGH, 1200, 1, "app")
    assert [(factor.name, factor.weight) for factor in alert.factors] == [
        ("new-address", 400),
        ("daily-limit", 300),
        ("new-path", 300),
        ("hours", 200),
    ]
    words = " ".join(factor.words for factor in alert.factors)
    assert all(
        text in words for text in ("2001:db8::9", "ml/key", "23:00 in UTC, outside 06:00 to 22:00", "more than 1 ")
    )
    (event,) = alert.events
    assert (event.at, event.path, event.source, event.agent) == (NIGHT, "ml/key", "2001:db8::9", "curl/8")


def test_an_alert_is_above_its_threshold_and_not_at_it() -> None:
    at_it = [access(), after(path="ml/key", source="203.0.113.9")]
    above = [access(), access(NIGHT, path="ml/key", source="203.0.113.9")]
    assert alerts(at_it, MonitorPolicy()) == []
    assert [alert.level for alert in alerts(above, MonitorPolicy())] == [Level.ALERT], "0.9 is not above 0.9"
    assert [alert.level for alert in alerts(above, MonitorPolicy(high=899))] == [Level.HIGH]


# --- the window ---------------------------------------------------------------------------------------------


def test_a_newcomer_has_nothing_to_be_compared_with() -> None:
    assert last_score(access()) == 0
    assert last_score(access(NIGHT)) == 0.2
    assert last_score(access(who="other"), after(source="203.0.113.9", path="ml/key")) == 0


@pytest.mark.parametrize(("late", "score"), [(-1, 0), (0, 0.7), (1, 0.7)])
def test_what_is_24_hours_old_is_outside_the_window(late: int, score: float) -> None:
    between = after(60, path="ml/key", source="10.0.0.2")
    last = access(NOON + timedelta(days=1, seconds=late))
    assert last_score(access(), between, last) == score


def test_after_an_empty_window_the_one_before_the_last_read_counts() -> None:
    nightly = [access(NOON + timedelta(days=day, minutes=day)) for day in range(4)]
    assert scores(nightly) == {}
    stolen = access(NOON + timedelta(days=3, hours=25), source="203.0.113.9", path="ml/key")
    assert last_score(*nightly, stolen) == 0.7


def test_a_job_that_runs_a_little_later_each_day_is_no_stranger_to_itself() -> None:
    def run(day: int) -> list[Access]:
        start = NIGHT + timedelta(days=day, minutes=10 * day)
        return [access(start + timedelta(seconds=n), f"ml/{n}", f"10.0.0.{n % 3}") for n in range(25)]

    reads = [one for day in range(5) for one in run(day)]
    assert {score for at, score in scores(reads).items() if at > run(1)[0].at} <= {0.2}
    thief = access(NIGHT + timedelta(days=4, hours=2), "ml/other", "203.0.113.9")
    assert last_score(*reads, thief) == 0.9


def test_an_attempt_that_got_nothing_makes_nothing_known() -> None:
    tried = after(path="ml/key", source="203.0.113.9", denied=True)
    assert last_score(access(), tried) == 0.7
    assert last_score(access(), tried, after(2, path="ml/key", source="203.0.113.9")) == 0.7


def test_an_address_that_the_log_does_not_tell_is_not_new() -> None:
    assert last_score(access(), after(source="")) == 0


def test_principals_are_told_apart_by_system() -> None:
    other = Access(NOON + timedelta(minutes=1), "aws", "ml/key", None, "app", "203.0.113.9")
    assert scores([access(), other]) == {}


def test_memory_is_bounded_and_what_was_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyturn.access_log.detection import detector as module

    monkeypatch.setattr(module, "PRINCIPALS", 10)
    monkeypatch.setattr(window, "PATHS", 10)
    monkeypatch.setattr(window, "ADDRESSES", 10)
    detector = Detector(SamePolicy())
    many = [after(n / 60, who=f"app-{n % 40}", path=f"ml/{n}", source=f"10.0.{n % 250}.1") for n in range(2000)]
    list(detector.alerts(many))
    (states,) = detector._windows.values()
    assert len(states) <= 10
    assert all(len(state.paths) <= 10 and len(state.addresses) <= 10 for state in states.values())
    assert detector.counts.forgotten >= 1900


def test_no_more_times_are_remembered_than_the_limit_needs() -> None:
    detector = Detector(SamePolicy(MonitorPolicy(limit=5)))
    list(detector.alerts(after(n / 60) for n in range(500)))
    (state,) = detector._windows["hub"].values()
    assert len(state.times) == 6


# --- hours and zones ----------------------------------------------------------------------------------------


def hour_score(text: str, **policy: Any) -> float:
    """What the time of a line scores."""
    return last_score(access(parse_time(text)), policy=MonitorPolicy(alert=0, **policy))


@pytest.mark.parametrize(
    ("time", "zone", "score"),
    [
        ("2026-03-04T06:00:00Z", "UTC", 0),
        ("2026-03-04T05:59:59.999999Z", "UTC", 0.2),
        ("2026-03-04T21:59:59Z", "UTC", 0),
        ("2026-03-04T22:00:00Z", "UTC", 0.2),
        ("2026-03-04T05:00:00Z", "Europe/Berlin", 0),
        ("2026-03-04T06:00:00+01:00", "Europe/Berlin", 0),
        ("2026-03-04T05:59:00+01:00", "Europe/Berlin", 0.2),
        ("2026-03-04T05:30:00", "UTC", 0.2),  # a line without a zone is of UTC
        ("2026-03-04T00:30:00Z", "Asia/Kolkata", 0),  # 06:00
        ("2026-03-04T00:29:59Z", "Asia/Kolkata", 0.2),
        ("2026-03-04T14:00:00Z", "America/New_York", 0),
        ("2026-03-04T10:59:00Z", "America/New_York", 0.2),  # 05:59, five hours behind
        ("2026-03-09T10:00:00Z", "America/New_York", 0),  # 06:00, four hours behind since the day before
        ("2026-03-29T04:00:00Z", "Europe/Berlin", 0),  # 06:00 summer time, since three hours
        ("2026-03-28T04:59:00Z", "Europe/Berlin", 0.2),  # 05:59 winter time
        ("2026-10-25T04:00:00Z", "Europe/Berlin", 0.2),  # 05:00 winter time, since three hours
        ("2026-10-24T04:00:00Z", "Europe/Berlin", 0),  # 06:00 summer time
    ],
)
def test_hours_are_those_of_the_principals_zone(time: str, zone: str, score: float) -> None:
    assert hour_score(time, zone=zone) == score


@pytest.mark.parametrize(("hour", "score"), [(23, 0), (3, 0), (5, 0), (6, 0.2), (12, 0.2), (21, 0.2), (22, 0)])
def test_hours_may_go_over_midnight(hour: int, score: float) -> None:
    assert hour_score(f"2026-03-04T{hour:02}:00:00Z", begin=22 * 60, end=6 * 60) == score


def test_equal_moments_of_different_offsets_are_one() -> None:
    there = (NOON + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=-9)))
    assert scores([access(), access(there, source="203.0.113.9")]) == {there: 0.4}


# --- order --------------------------------------------------------------------------------------------------


def test_late_accesses_are_put_in_their_place() -> None:
    later = [after(minute, source="203.0.113.9") for minute in (4, 3, 2)]
    assert (
        scores([access(), *later]) == scores(sorted([access(), *later], key=lambda one: one.at)) == {later[2].at: 0.4}
    )


def test_what_is_older_than_the_lateness_is_counted_and_not_judged() -> None:
    detector = Detector(SamePolicy(EVERYTHING), lateness=timedelta(minutes=5))
    told = list(detector.alerts([*(after(n) for n in range(20)), after(3, source="203.0.113.9"), after(21)]))
    assert told == []
    assert (detector.counts.order.late, detector.counts.order.accesses) == (1, 21)


def test_a_clock_that_is_ahead_makes_nothing_after_it_late() -> None:
    ahead = access(NOON + timedelta(hours=9))
    detector = Detector(SamePolicy(EVERYTHING))
    told = list(detector.alerts([access(), ahead, *(after(n) for n in range(1, 30)), after(30, source="203.0.113.9")]))
    assert detector.counts.order.late == 0
    assert [event.at for alert in told for event in alert.events] == [after(30).at]


def test_no_more_wait_for_late_ones_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "HELD", 10)
    order = reorder.Reorder()
    reads = [after(n / 600) for n in range(100)]
    assert [given for one in reads for _, given in order.push([one])] == reads[:90]
    assert [given for _, given in order.end()] == reads[90:]


def test_what_comes_twice_counts_once() -> None:
    reads = [after(n) for n in range(3)]
    detector = Detector(SamePolicy(MonitorPolicy(alert=0, limit=3)))
    assert list(detector.alerts([*reads, *reads])) == []
    assert (detector.counts.order.accesses, detector.counts.order.duplicates) == (3, 3)


def test_a_log_that_is_read_a_second_time_is_late_and_alarms_nobody() -> None:
    reads = [after(n) for n in range(30)]
    detector = Detector(SamePolicy(MonitorPolicy(alert=0, limit=30)))
    assert list(detector.alerts([*reads, *reads])) == []
    assert detector.counts.order.late + detector.counts.order.duplicates == 30


def test_two_reads_of_one_moment_that_differ_are_two() -> None:
    detector = Detector(SamePolicy())
    list(detector.alerts([access(), access(login="another"), access(login="third"), access(login="another")]))
    assert (detector.counts.order.accesses, detector.counts.order.duplicates) == (3, 1)


# --- alerts -------------------------------------------------------------------------------------------------

ODD = MonitorPolicy(alert=0, begin=0, end=1, limit=100_000)
"""Every hour but the first minute of a day is odd."""


def test_a_storm_of_one_principal_is_one_alert_with_a_count() -> None:
    (alert,) = alerts([after(n / 60) for n in range(3000)], ODD)
    assert (alert.count, len(alert.events), alert.factors[0].count) == (3000, groups.SHOWN, 3000)
    assert (alert.first, alert.last) == (NOON, NOON + timedelta(seconds=2999))


def test_what_comes_after_a_quiet_time_is_another_alert() -> None:
    times = [0, 20, 40, 71]
    assert [alert.count for alert in alerts([after(minute) for minute in times], ODD)] == [3, 1]


def test_what_goes_on_is_told_again() -> None:
    told = alerts([after(minute * 10) for minute in range(60)], ODD)
    assert [alert.count for alert in told] == [37, 23], "six hours, then the rest"


def test_a_storm_of_many_principals_is_told_by_few_alerts() -> None:
    told = alerts([after(n / 100, who=f"app-{n}") for n in range(500)], ODD)
    storm = [alert for alert in told if alert.storm]
    assert len(told) == groups.HOURLY + 1
    assert [(alert.count, alert.principals) for alert in storm] == [(440, 440)]
    assert sum(alert.count for alert in told) == 500


def test_alerts_are_given_while_the_log_goes_on() -> None:
    detector = Detector(SamePolicy(MonitorPolicy(alert=0)))
    told = [bool(detector.take(one)) for one in (access(NIGHT - timedelta(hours=11.5)), access(NIGHT), *_day_after())]
    assert any(told), "it is not held until the end"


def _day_after() -> list[Access]:
    return [access(NIGHT + timedelta(hours=12, minutes=n)) for n in range(20)]


def test_rules_are_compared_by_principal_and_time() -> None:
    reads = [after(n) for n in range(3)] + [access(NIGHT)] + [access(NIGHT, who="other")]
    before, later = alerts(reads, MonitorPolicy(alert=0)), alerts(reads, MonitorPolicy(alert=0, high=100))
    assert [(old.level, new.level) for old, new in compare_alerts(before, later).changed] == [("alert", "high")] * 2
    assert compare_alerts(before, before).same == 2
    none = compare_alerts(before, [])
    assert (none.only_before, none.only_after) == (tuple(before), ())
    assert compare_alerts([], before).only_after == tuple(before)


# --- beside a monitor that keeps everything -----------------------------------------------------------------


class Naive:
    """The documented scores, told from all events so far."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.events: list[Access] = []

    def score(self, one: Access) -> float:
        """Of the next event, in thousandths."""
        before = [other for other in self.events if other.principal == one.principal]
        self.events.append(one)
        recent = [other for other in before if other.at > one.at - DAY]
        score = 300 * (len(recent) + 1 > self.limit) + 200 * (not 6 <= one.at.hour < 22)
        reads = [other for other in before if not other.denied]
        if not reads:
            return score
        since = self.since([*before, one], one.at)
        window = [other for other in reads if other.at > since]
        score += 400 * (one.source not in {other.source for other in window})
        return score + 300 * (one.path not in {other.path for other in window})

    def since(self, events: list[Access], at: datetime) -> datetime:
        """Where the window begins: further back for the day after a return."""
        back = at - DAY
        for one in events:
            last = max((other.at for other in events if not other.denied and other.at < one.at), default=None)
            if last and last <= one.at - DAY and at < one.at + DAY:
                back = last - DAY
        return back


DAY = timedelta(days=1)
STREAMS = st.lists(
    st.tuples(
        st.integers(1, 40 * 3600),
        st.sampled_from(["app", "job"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2"]),
        st.booleans(),
    ),
    max_size=40,
)


def stream(steps: list[tuple[int, str, str, str, bool]]) -> list[Access]:
    """Accesses that come after each other by so many seconds."""
    at, accesses = NOON, []
    for seconds, who, path, source, denied in steps:
        at += timedelta(seconds=seconds if seconds % 3 == 0 else seconds % 3000)
        accesses.append(access(at, path, source, who, denied=denied))
    return accesses


def all_scores(detector: Detector, accesses: Iterable[Access]) -> dict[Access, int]:
    """What each scores, where it does; rules say nothing."""
    scored: dict[Access, int] = {}
    conclude: Any = detector._conclude

    def noting(one: Access, score: int, *rest: Any) -> Any:
        scored[one] = score
        return conclude(one, score, *rest)

    detector._conclude = noting  # type: ignore[assignment, method-assign]
    list(detector.alerts(accesses))
    return scored


@settings(max_examples=sampling.examples(80, 1000), deadline=None)
@given(steps=STREAMS)
def test_scores_are_those_of_a_monitor_that_keeps_everything(steps: list[tuple[int, str, str, str, bool]]) -> None:
    accesses, naive = stream(steps), Naive(5)
    expected = {one: score for one in accesses if (score := naive.score(one))}
    policy = MonitorPolicy(alert=0, limit=5, tunings={name: Tuning(0) for name in RULES})
    assert all_scores(Detector(SamePolicy(policy)), accesses) == expected


@settings(max_examples=sampling.examples(40, 500), deadline=None)
@given(steps=STREAMS, seed=st.integers(0, 1000))
def test_the_order_in_which_they_come_changes_nothing(steps: list[tuple[int, str, str, str, bool]], seed: int) -> None:
    accesses, random = stream(steps), Random(seed)  # noqa: S311
    late = {one.at: random.uniform(0, 290) for one in accesses}
    mixed = sorted(accesses, key=lambda one: one.at.timestamp() + late[one.at])
    policy = MonitorPolicy(alert=100, limit=5)
    assert alerts(mixed, policy) == alerts(accesses, policy)
