"""Responses that detection rules ask for appear in the alert at once."""

from datetime import timedelta
from typing import Any

import pytest

from keyturn.access_log.detection import grouping
from keyturn.access_log.detection.alerts import Alert, Stage
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicy, React, SamePolicy, Tuning
from keyturn.core.ports.access import LOGIN, Access
from tests.access_log.test_detection import NOON, access, after

REVOKE, DRY_RUN, OFF = React.REVOKE, React.DRY_RUN, React.OFF


def policy(react: React = REVOKE, **tunings: Tuning) -> MonitorPolicy:
    return MonitorPolicy(readers=("app",), tunings={"other-reader": Tuning(800, react=react)} | tunings)


def seen(*accesses: Access, policy: MonitorPolicy) -> list[Alert]:
    """The alerts as they come, but for their ends."""
    detector = Detector(SamePolicy(policy), live=True)
    return [alert for alert in detector.alerts(accesses) if alert.stage is not Stage.COMPLETE]


def responses(*accesses: Access, policy: MonitorPolicy) -> list[list[tuple[str, React]]]:
    return [
        [(response.path, response.react) for response in alert.responses] for alert in seen(*accesses, policy=policy)
    ]


def thief(minutes: float = 0, path: str = "ml/db", **more: Any) -> Access:
    return after(minutes, who="thief", path=path, **more)


def test_each_secret_that_was_given_is_asked_for_as_soon_as_it_was() -> None:
    assert responses(thief(), thief(1), thief(2, "ml/key"), policy=policy()) == [
        [("ml/db", REVOKE)],
        [("ml/db", REVOKE), ("ml/key", REVOKE)],
    ]


def test_what_was_not_given_is_not_asked_for() -> None:
    login = access(path="auth/userpass/login/x", who="thief", denied=True, action=LOGIN)
    assert responses(thief(denied=True), login, policy=policy()) == [[]]


def test_nothing_is_asked_for_unless_a_rule_says_so() -> None:
    assert responses(thief(), policy=policy(OFF)) == [[]]


def test_what_was_judged_before_a_rule_asked_for_it_is_not_asked_for_and_what_is_read_again_is() -> None:
    detector = Detector(SamePolicy(policy()), live=True)
    detector.learn([thief(), thief(1, "ml/key")])
    raised = detector.take_all([thief(2, "ml/key")])
    ends = detector.end()
    assert [[(each.path, each.react) for each in alert.responses] for alert in (*raised, *ends)] == [
        [("ml/key", REVOKE)],
        [("ml/key", REVOKE)],
    ]
    assert [alert.count for alert in ends] == [3]


def test_of_two_rules_the_one_that_does_more_is_heard() -> None:
    root = policy(DRY_RUN, **{"root-token": Tuning(800, react=REVOKE)})
    reads = thief(), thief(1, root=True), thief(2, root=True)
    assert responses(*reads, policy=root) == [[("ml/db", DRY_RUN)], [("ml/db", REVOKE)]]
    assert seen(*reads, policy=root)[1].responses[0].rule == "root-token"


def test_a_storm_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "HOURLY", 1)
    alerts = seen(*(after(n, who=f"thief {n}") for n in range(4)), policy=policy())
    assert [alert.storm for alert in alerts] == [False, True]
    assert alerts[1].responses == ()


def test_an_alert_asks_for_no_more_secrets_than_a_person_should_not_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "RESPONSES", 2)
    reads = [access(NOON + timedelta(seconds=n), path=f"ml/{n}", who="thief") for n in range(9)]
    assert max(map(len, responses(*reads, policy=policy()))) == 2
