"""An attacker with a stolen login can't blind the detection of unusual reads."""

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


def test_a_line_dated_ahead_does_not_blind_the_detector() -> None:
    ahead = access(NIGHT + timedelta(days=300), who="other")
    assert noticed(access(NOON), ahead, stolen()) == ["app"]


def test_failed_logins_from_many_addresses_do_not_erase_learned_habits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRINCIPALS", 10)
    failed: dict[str, Any] = {"path": "auth/userpass/login/x", "denied": True, "action": LOGIN}
    seconds = [(n, NOON + timedelta(seconds=n)) for n in range(200)]
    tries = [access(at, source=f"198.51.100.{n}", who=f"failed login from {n}", **failed) for n, at in seconds]
    assert noticed(access(NOON), *tries, stolen()) == ["app"]


def test_repeated_attempts_do_not_make_a_theft_look_usual() -> None:
    tries = [access(NOON + timedelta(minutes=n), "ml/key", THIEF, denied=True) for n in range(1, 9)]
    assert noticed(access(NOON), *tries, stolen()) == ["app"]


def test_waiting_until_the_owners_habits_expire_does_not_help_a_thief() -> None:
    assert noticed(access(NOON), stolen(NIGHT + timedelta(days=3))) == ["app"]


def test_a_claimed_address_is_not_trusted() -> None:
    policy = MonitorPolicy(addresses=(ip_network("10.0.0.0/8"),))
    assert noticed(access(NOON, source=f"{THIEF}, said to be for 10.0.0.1"), policy=policy) == ["app"]


def test_a_storm_of_other_alerts_hides_no_level_and_no_count() -> None:
    others = [access(NOON + timedelta(seconds=n), who=f"app-{n}") for n in range(90)]
    odd = [access(NIGHT + timedelta(seconds=n), "ml/key", THIEF, f"app-{n}") for n in range(90)]
    root = access(NIGHT + timedelta(seconds=91), who="thief", root=True)
    detector = Detector(SamePolicy(MonitorPolicy(high=799)))
    *_, storm = detector.alerts([*others, *odd, root])
    assert (storm.storm, storm.count, storm.principals, storm.level) == (True, 31, 31, "high")
    assert "root-token" in {factor.name for factor in storm.factors}
