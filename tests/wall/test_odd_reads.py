"""Who reads with a stolen login and would not be noticed: what they can try with the detector, and what it says."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from keyturn.access_log.detection import detector as module
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy
from keyturn.core.ports.access import LOGIN, Access

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NIGHT = NOON.replace(hour=23)
THIEF = "203.0.113.9"


def access(at: datetime, path: str = "ml/db", source: str = "10.0.0.1", who: str = "app", **more: Any) -> Access:
    return Access(at, "hub", path, None, who, source, **more)


def stolen(at: datetime = NIGHT) -> Access:
    """A read that is odd in three ways: 0.9."""
    return access(at, "ml/key", THIEF)


def noticed(*accesses: Access, policy: MonitorPolicy | None = None) -> list[str]:
    """Who is told of."""
    return [alert.principal for alert in Detector(SamePolicy(policy or MonitorPolicy())).alerts(accesses)]


def test_a_line_with_a_clock_that_is_ahead_blinds_nobody() -> None:
    ahead = access(NIGHT + timedelta(days=300), who="other")
    assert noticed(access(NOON), ahead, stolen()) == ["app"]


def test_failed_logins_of_many_addresses_make_nobody_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRINCIPALS", 10)
    failed: dict[str, Any] = {"path": "auth/userpass/login/x", "denied": True, "action": LOGIN}
    seconds = [(n, NOON + timedelta(seconds=n)) for n in range(200)]
    tries = [access(at, source=f"198.51.100.{n}", who=f"failed login from {n}", **failed) for n, at in seconds]
    assert noticed(access(NOON), *tries, stolen()) == ["app"]


def test_attempts_make_the_theft_no_more_usual() -> None:
    tries = [access(NOON + timedelta(minutes=n), "ml/key", THIEF, denied=True) for n in range(1, 9)]
    assert noticed(access(NOON), *tries, stolen()) == ["app"]


def test_to_wait_until_the_owner_is_forgotten_helps_nobody() -> None:
    assert noticed(access(NOON), stolen(NIGHT + timedelta(days=3))) == ["app"]


def test_an_address_that_is_claimed_is_not_believed() -> None:
    policy = MonitorPolicy(addresses=(ip_network("10.0.0.0/8"),))
    assert noticed(access(NOON, source=f"{THIEF}, said to be for 10.0.0.1"), policy=policy) == ["app"]


def test_a_storm_of_others_hides_no_level_and_no_count() -> None:
    others = [access(NOON + timedelta(seconds=n), who=f"app-{n}") for n in range(90)]
    odd = [access(NIGHT + timedelta(seconds=n), "ml/key", THIEF, f"app-{n}") for n in range(90)]
    root = access(NIGHT + timedelta(seconds=91), who="thief", root=True)
    detector = Detector(SamePolicy(MonitorPolicy(high=799)))
    *_, storm = detector.alerts([*others, *odd, root])
    assert (storm.storm, storm.count, storm.principals, storm.level) == (True, 31, 31, "high")
    assert "root-token" in {factor.name for factor in storm.factors}
