"""The rules beyond the scores: each with what it finds, what it lets be, and its exact score."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.history import NO_HISTORY, SecretHistory
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy, Tuning
from keyturn.access_log.detection.rules.registry import RULES, rule_class
from keyturn.core.ports.access import LOGIN, Access
from keyturn.core.ports.ledger import Entry, Outcome

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NO_SCORES = {"limit_weight": 0, "hours_weight": 0, "address_weight": 0, "path_weight": 0, "alert": 0}
"""So that nothing but the rules is told."""


def access(at: datetime = NOON, path: str = "ml/db", source: str = "10.0.0.1", who: str = "app", **more: Any) -> Access:
    return Access(at, "hub", path, more.pop("version", 1), who, source, **more)


def found(
    accesses: Iterable[Access], history: SecretHistory = NO_HISTORY, **policy: Any
) -> list[tuple[datetime, str, float]]:
    """Each odd access, the rules that say so, and the score."""
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES | policy)), history)
    return [
        (event.at, " ".join(event.factors), event.score / 1000)
        for alert in detector.alerts(accesses)
        for event in alert.events
    ]


def test_every_rule_is_registered_by_its_own_name() -> None:
    assert {name: rule_class(name).name for name in RULES} == {name: name for name in RULES}


def test_ten_failed_reads_in_five_minutes_are_a_burst() -> None:
    tries = [access(NOON + timedelta(seconds=30 * n), denied=True) for n in range(11)]
    assert found(tries) == [(one.at, "failed-reads", 0.8) for one in tries[9:10]] + [
        (tries[10].at, "failed-reads", 0.8)
    ]
    slower = [access(NOON + timedelta(seconds=34 * n), denied=True) for n in range(30)]
    assert found(slower) == []
    assert found([access(NOON + timedelta(seconds=n), denied=n % 2 == 0, who=f"app-{n % 4}") for n in range(36)]) == []


def test_failed_logins_count_by_the_address_whoever_they_are_for() -> None:
    def logins(source: str) -> list[Access]:
        return [
            access(
                NOON + timedelta(seconds=n),
                f"auth/userpass/login/{n}",
                source,
                f"failed login from {source}",
                denied=True,
                action=LOGIN,
            )
            for n in range(10)
        ]

    assert [one[1:] for one in found(logins("203.0.113.9"))] == [("failed-reads", 0.8)]
    assert found([one for n in range(10) for one in logins(f"203.0.113.{n}")[n : n + 1]]) == []


def test_a_login_is_no_read() -> None:
    login = access(NOON.replace(hour=23), "auth/approle/login", "203.0.113.9", action=LOGIN)
    assert found([access(), login], hours_weight=200, address_weight=400, path_weight=300) == []


def test_thirty_secrets_in_ten_minutes_that_are_new_are_an_enumeration() -> None:
    reads = [access(NOON + timedelta(seconds=n), f"ml/{n}") for n in range(31)]
    assert [one[1:] for one in found(reads)] == [("enumeration", 0.8)] * 2
    assert found([access(NOON + timedelta(seconds=21 * n), f"ml/{n}") for n in range(40)]) == []
    slowly = [access(NOON + timedelta(seconds=60 * n), f"ml/{n}") for n in range(40)]
    known = [access(NOON + timedelta(hours=1, seconds=n), f"ml/{n}") for n in range(40)]
    assert found([*slowly, *known]) == [], "what it was given before is not new"


def test_a_program_that_comes_back_for_many_secrets_of_long_ago_enumerates_nothing() -> None:
    def told(who: str, days: int = 6) -> int:
        month = [access(NOON + timedelta(seconds=30 * n), f"ml/{n}", who=who) for n in range(40)]
        daily = [access(NOON + DAY * day, who=who) for day in range(1, days)]
        again = [access(NOON + 7 * DAY + timedelta(seconds=n), f"ml/{n}", who=who) for n in range(40)]
        return len([odd for odd in found([*month, *daily, *again]) if "enumeration" in odd[1]])

    assert told("approle monthly") == 0
    assert told("oidc-ana") == told("approle monthly", days=3) == 10, (
        "people, and who was seen on few days: an alert shows ten"
    )


def test_the_same_refused_secret_counts_once_for_an_enumeration() -> None:
    tuned = {"failed-reads": Tuning(0)}
    same = [access(NOON + timedelta(seconds=n), denied=True) for n in range(60)]
    assert found(same, tunings=tuned) == []
    many = [access(NOON + timedelta(seconds=n), f"ml/{n}", denied=True) for n in range(30)]
    assert [one[1:] for one in found(many, tunings=tuned)] == [("enumeration", 0.8)]


def test_the_first_read_of_a_restricted_secret_is_told() -> None:
    learned = access(who="consumer")
    late = NOON + DAY + timedelta(hours=1)
    stream = [learned, access(late, who="consumer"), access(late + timedelta(seconds=1), who="stranger")]
    stream.append(access(late + timedelta(seconds=2), who="stranger"))
    assert found(stream, restricted=True) == [(stream[2].at, "first-restricted", 0.8)]
    assert found(stream) == []
    assert found([learned, access(late, who="stranger", denied=True)], restricted=True) == []
    month_later = access(NOON + 31 * DAY, who="consumer")
    assert found([learned, month_later], restricted=True, tunings={"dormant": Tuning(0)}) == [
        (month_later.at, "first-restricted", 0.8)
    ]


def test_somebody_else_than_the_readers_is_told() -> None:
    reads = [
        access(who="approle trainer-7"),
        access(NOON + DAY, who="approle web"),
        access(NOON + DAY, who="x", denied=True),
    ]
    assert [one[1:] for one in found(reads, readers=("approle trainer*", "ana"))] == [("other-reader", 0.8)] * 2


@pytest.mark.parametrize(
    ("source", "outside"),
    [
        ("10.1.2.3", False),
        ("10.1.2.3, said to be for 203.0.113.9", False),
        ("203.0.113.9, said to be for 10.1.2.3", True),
        ("::ffff:10.1.2.3", False),
        ("2001:db8::7", False),
        ("2001:db9::7", True),
        ("11.0.0.1", True),
        ("@", True),
        ("", False),
    ],
)
def test_an_address_outside_the_networks_is_told(source: str, outside: bool) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    said = [(NOON, "address-range", 0.8)] if outside else []
    assert found([access(source=source)], addresses=networks) == said


@pytest.mark.parametrize(
    ("at", "zone", "odd"),
    [
        (datetime(2026, 3, 6, 23, 30, tzinfo=UTC), "UTC", False),
        (datetime(2026, 3, 6, 23, 30, tzinfo=UTC), "Europe/Berlin", True),
        (datetime(2026, 3, 8, 12, 0, tzinfo=UTC), "UTC", True),
        (datetime(2026, 3, 9, 3, 0, tzinfo=UTC), "America/New_York", True),
        (datetime(2026, 3, 9, 4, 0, tzinfo=UTC), "America/New_York", False),
    ],
)
def test_a_weekend_is_the_zones_own(at: datetime, zone: str, odd: bool) -> None:
    assert found([access(at)], zone=zone, weekends=False) == ([(at, "weekend", 0.2)] if odd else [])
    assert found([access(at)], zone=zone) == []


def test_a_read_with_the_root_policy_is_told() -> None:
    assert found([access(root=True), access(NOON + DAY)]) == [(NOON, "root-token", 0.8)]


def entry(action: str, at: datetime, version: int = 0, outcome: Outcome = Outcome.DONE) -> Entry:
    return Entry(at, "worker", action, outcome, secret="ml/db", version=version)


def test_a_stranger_straight_after_a_revocation_is_told_and_a_consumer_is_not() -> None:
    history = SecretHistory([entry("cut", NOON), entry("cut", NOON + 9 * DAY, outcome=Outcome.FAILED)])
    before = access(NOON - timedelta(hours=1), who="consumer")
    consumer = access(NOON + timedelta(minutes=1), who="consumer")
    moved = access(NOON + timedelta(minutes=2), source="203.0.113.9", who="consumer", denied=True)
    stranger = access(NOON + timedelta(minutes=59), who="stranger")
    later = access(NOON + timedelta(minutes=61), who="third")
    failed = access(NOON + 9 * DAY + timedelta(minutes=1), who="fourth")
    told = found([before, consumer, moved, stranger, later, failed], history)
    assert told == [(moved.at, "after-revocation", 1.0), (stranger.at, "after-revocation", 1.0)]
    assert found([stranger]) == []


def test_a_version_that_has_ended_is_told() -> None:
    history = SecretHistory(
        [entry("promote", NOON - 9 * DAY, 1), entry("promote", NOON - DAY, 2), entry("retire", NOON)]
    )
    reads = [
        access(NOON - timedelta(minutes=1), version=1, who="a"),
        access(NOON + timedelta(minutes=1), version=1, who="b", denied=True),
        access(NOON + timedelta(minutes=2), version=2, who="c"),
        access(NOON + timedelta(minutes=3), version=None, who="d"),
    ]
    assert found(reads, history) == [(reads[1].at, "retired-version", 0.8)]


@pytest.mark.parametrize(
    ("later", "source", "versions", "odd"),
    [
        (timedelta(hours=23), "10.0.0.2", 1, False),
        (timedelta(hours=25), "10.0.0.2", 1, True),
        (timedelta(hours=25), "10.0.0.1", 1, False),
        (timedelta(hours=25), "10.0.0.1", 2, True),
        (timedelta(days=8), "10.0.0.1", 1, True),
    ],
)
def test_a_consumer_that_is_behind_is_no_thief(later: timedelta, source: str, versions: int, odd: bool) -> None:
    ended = [entry(action, NOON, number + 2) for number in range(versions) for action in ("promote", "retire")]
    behind = access(NOON + later, source=source, version=1)
    told = [(behind.at, "retired-version", 0.8)] if odd else []
    assert found([access(NOON - timedelta(hours=1)), behind], SecretHistory(ended)) == told


def test_a_consumer_whose_addresses_change_is_no_stranger_after_a_revocation() -> None:
    before = [access(NOON - timedelta(hours=n), source=f"10.0.0.{n}") for n in (3, 2, 1)]
    near, far = (access(NOON + timedelta(minutes=1), source=source) for source in ("10.0.9.9", "203.0.113.9"))
    history = SecretHistory([entry("cut", NOON)])
    assert found([*before, near], history) == []
    assert found([*before, far], history) == [(far.at, "after-revocation", 1.0)]
    assert found([*before[1:], near], history) == [(near.at, "after-revocation", 1.0)]


def test_what_was_put_back_is_in_force() -> None:
    history = SecretHistory([entry("promote", NOON, 2), entry("revert", NOON, 3), entry("retire", NOON)])
    late = NOON + timedelta(hours=2)
    assert found([access(late, version=2)], history) == [(late, "retired-version", 0.8)]
    assert found([access(late, version=3)], history) == []


def test_a_revocation_ends_the_version_in_force_too() -> None:
    history = SecretHistory([entry("promote", NOON - DAY, 2), entry("cut", NOON), entry("promote", NOON, 3)])
    late = NOON + timedelta(hours=2)
    assert found([access(late, version=2)], history) == [(late, "retired-version", 0.8)]
    assert found([access(late, version=3)], history) == []


def test_a_principal_that_comes_back_after_a_month_is_told() -> None:
    back, again = access(NOON + 31 * DAY), access(NOON + 31 * DAY + timedelta(minutes=1))
    assert found([access(), back, again]) == [(back.at, "dormant", 0.5)]
    assert found([access(), access(NOON + 30 * DAY)]) == []


def test_rules_add_up_with_the_scores_and_are_off_at_weight_0() -> None:
    stolen = access(NOON + 31 * DAY, "ml/key", "203.0.113.9")
    assert [one[2] for one in found([access(), stolen], address_weight=400, path_weight=300)] == [1.2]
    assert found([access(), stolen], tunings={"dormant": Tuning(0)}) == []


def test_count_and_time_of_a_rule_can_be_set() -> None:
    tuned = {"failed-reads": Tuning(400, 3, timedelta(hours=1))}
    tries = [access(NOON + timedelta(minutes=20 * n), denied=True) for n in range(3)]
    assert found(tries, tunings=tuned) == [(tries[2].at, "failed-reads", 0.4)]
