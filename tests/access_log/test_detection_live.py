"""Detection while logs grow: late events, restarts and repeated alerts."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.access_log.detection import grouping
from keyturn.access_log.detection.alerts import Alert, Level, Stage
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy, Tuning
from keyturn.core.ports.access import Access

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NIGHT = MonitorPolicy(alert=0, begin=0, end=1, limit=100_000)
"""Every hour but the first minute of a day is odd."""


def access(
    minutes: float = 0,
    path: str = "ml/db",
    source: str = "10.0.0.1",
    who: str = "app",
    system: str = "hub",
    **more: Any,
) -> Access:
    return Access(NOON + timedelta(minutes=minutes), system, path, 1, who, source, **more)


def live(policy: MonitorPolicy = NIGHT) -> Detector:
    return Detector(SamePolicy(policy), live=True)


def stages(alerts: Iterable[Alert]) -> list[tuple[Stage, int]]:
    return [(alert.stage, alert.count) for alert in alerts]


def test_an_alert_is_given_when_it_begins_and_when_it_is_complete() -> None:
    detector = live()
    begun = [*detector.take_all([access(), access(1), access(2)])]
    assert stages(begun) == [(Stage.BEGUN, 1)]
    complete = detector.take_all([access(40, who="other")])
    assert stages(complete) == [(Stage.COMPLETE, 3), (Stage.BEGUN, 1)]
    assert complete[0].id == begun[0].id != complete[1].id


def test_what_makes_an_alert_worse_is_told_at_once() -> None:
    policy = MonitorPolicy(alert=0, begin=0, end=1, tunings={"failed-reads": Tuning(800, 3, timedelta(minutes=5))})
    alerts = live(policy).take_all([access(minute, denied=True) for minute in range(5)])
    assert stages(alerts) == [(Stage.BEGUN, 1), (Stage.RAISED, 3)]
    assert [alert.level for alert in alerts] == [Level.ALERT, Level.HIGH]


def test_an_idle_log_has_its_alerts_completed_by_the_clock() -> None:
    detector = live()
    detector.advance(NOON)
    (begun,) = detector.take_all([access()])
    assert not detector.advance(NOON + timedelta(minutes=30))
    (complete,) = detector.advance(NOON + timedelta(minutes=30, seconds=1))
    assert (complete.id, complete.stage, complete.count) == (begun.id, Stage.COMPLETE, 1)
    assert not detector.end()


def test_what_waits_for_others_goes_on_where_a_log_is_idle() -> None:
    detector = Detector(SamePolicy(NIGHT))
    assert not detector.take(access())
    assert not detector.advance(NOON + timedelta(minutes=5))
    assert detector.counts.order.accesses == 1
    assert stages(detector.advance(NOON + timedelta(minutes=36))) == [(Stage.COMPLETE, 1)]


def test_after_a_start_alerts_have_the_same_ids_and_none_is_told_of_the_past() -> None:
    reads = [access(minute * 10, who=f"app-{minute % 2}") for minute in range(150)]
    whole = live().take_all(reads)
    for cut in (1, 75, 149):
        detector = live()
        detector.learn(reads[:cut])
        assert [*detector.take_all(reads[cut:])] == [*whole[len(live().take_all(reads[:cut])) :]]


def test_what_goes_on_for_weeks_has_the_same_ids_wherever_the_log_is_read_from() -> None:
    reads = [access(minute * 7) for minute in range(600)]
    ids = [[alert.id for alert in live().take_all(reads[begin:])] for begin in (0, 123)]
    assert ids[0][-12:] == ids[1][-12:]


@pytest.mark.attack
def test_late_events_are_evaluated_and_counted() -> None:
    detector = live(MonitorPolicy(alert=0))
    told = detector.take_all([access(), access(60), access(30, source="203.0.113.9")])
    assert [(alert.stage, alert.score) for alert in told] == [(Stage.BEGUN, 400)]
    assert (detector.counts.order.late, detector.counts.order.accesses) == (1, 3)


def test_what_is_late_makes_nothing_burst_that_did_not() -> None:
    policy = MonitorPolicy(alert=300, tunings={"failed-reads": Tuning(800, 3, timedelta(minutes=5))})
    apart = [access(minute, denied=True) for minute in (0, 60, 30, 90, 45)]
    assert not live(policy).take_all(apart)
    assert live(policy).take_all([*apart, access(46, denied=True), access(44, denied=True)])


def test_a_log_that_is_behind_gathers_its_alerts_as_one_that_is_not() -> None:
    detector = live()
    detector.advance(NOON + timedelta(hours=9))
    detector.take_all([access(540)])
    behind = detector.take_all([access(minute, system="aws") for minute in range(200)])
    assert stages(behind) == [(Stage.BEGUN, 1)]
    assert not detector.advance(NOON + timedelta(hours=9, minutes=1))


@pytest.mark.attack
def test_a_clock_that_is_ahead_counts_as_now() -> None:
    detector = live(MonitorPolicy(alert=0, limit=3))
    detector.advance(NOON)
    detector.take_all([access(60 * 24 * 365, source="10.0.0.1")])
    told = detector.take_all(
        [access(60 * 24 * day) for day in range(1, 30) if not detector.advance(access(60 * 24 * day).at)]
    )
    assert told == []
    assert detector.counts.order.ahead == 1
    detector.take_all([access(-60 * 24 * 365 * 80)])
    assert detector.counts.order.impossible == 1


def test_a_storm_begins_once_and_is_complete_with_its_count() -> None:
    detector = live()
    begun = detector.take_all([access(n / 100, who=f"app-{n}") for n in range(500)])
    assert len(begun) == grouping.HOURLY + 1
    assert [alert.principals for alert in begun if alert.storm] == [1]
    complete = detector.advance(NOON + timedelta(hours=1))
    assert [(alert.stage, alert.count) for alert in complete if alert.storm] == [(Stage.COMPLETE, 440)]
    assert sum(alert.count for alert in complete) == 500
    assert {alert.id for alert in begun} == {alert.id for alert in complete}


@pytest.mark.attack
def test_a_storm_of_alerts_does_not_swallow_one_that_is_high() -> None:
    policy = MonitorPolicy(alert=0, high=700, begin=0, end=1)
    storm = [access(n / 100, who=f"app-{n}") for n in range(100)]
    (alert,) = (
        alert for alert in live(policy).take_all([*storm, access(2, who="x", root=True)]) if alert.level == "high"
    )
    assert alert.principal == "x"


@pytest.mark.parametrize("other", [access(source="10.0.0.2"), access(path="ml/x"), access(who="b"), access(1 / 60e6)])
def test_the_id_of_an_alert_is_that_of_its_first_access(other: Access) -> None:
    (first,), (again,), (another,) = (live().take_all([one]) for one in (access(), access(), other))
    assert first.id == again.id != another.id
