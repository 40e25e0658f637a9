"""Detection: rules about locations, several systems, decoys and incidents, with their exact scores."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from keyturn.access_log.detection import detector as detector_module
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.history import FAR_READER, NO_HISTORY, SecretHistory
from keyturn.access_log.detection.identities import is_person, plain_name
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy, Site, Tuning
from keyturn.access_log.detection.rules.impossible_travel import distance
from keyturn.core.ports.access import LOGIN, Access
from keyturn.core.ports.ledger import Entry, Outcome

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NO_SCORES = {"limit_weight": 0, "hours_weight": 0, "address_weight": 0, "path_weight": 0, "alert": 0}
BERLIN = Site("berlin", (ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")), 52.52, 13.405)
SYDNEY = Site("sydney", (ip_network("10.2.0.0/16"),), -33.868, 151.209)
POTSDAM = Site("potsdam", (ip_network("10.1.9.0/24"),), 52.4, 13.06)
SITES = (BERLIN, SYDNEY, POTSDAM)


def access(at: datetime = NOON, path: str = "ml/db", source: str = "10.1.0.1", who: str = "app", **more: Any) -> Access:
    return Access(at, more.pop("system", "hub"), path, more.pop("version", 1), who, source, **more)


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


@pytest.mark.parametrize("denied", [False, True])
def test_any_use_of_a_decoy_is_high_at_once(denied: bool) -> None:
    detector = Detector(SamePolicy(MonitorPolicy(decoy=True)), live=True)
    (alert,) = detector.take(access(denied=denied))
    assert (alert.stage, alert.level, alert.score) == ("begun", "high", 1000)
    assert found([access(denied=denied)]) == []


def test_nobody_is_in_sydney_an_hour_after_berlin() -> None:
    there = access(NOON + HOUR, source="10.2.0.1")
    assert found([access(), there], sites=SITES) == [(there.at, "impossible-travel", 0.8)]
    assert found([access(), access(NOON + HOUR, source="10.2.0.1")]) == []
    assert found([access(), access(NOON + 17 * HOUR, source="10.2.0.1")], sites=SITES) == []
    assert found([access(), access(NOON + HOUR, source="10.1.9.1")], sites=SITES) == [], "that is near"
    assert found([access(), access(NOON + HOUR, source="10.2.0.1", who="other")], sites=SITES) == []


def test_who_is_at_two_places_for_good_travels_nowhere() -> None:
    both = [access(NOON + n * HOUR, source=f"10.{1 + n % 2}.0.1") for n in range(9)]
    assert [odd[0] for odd in found(both, sites=SITES)] == [both[1].at]


@pytest.mark.parametrize("source", ["", "203.0.113.9", "no address", "10.1.0.9, said to be for 10.2.0.1"])
def test_an_address_that_is_nowhere_says_nothing(source: str) -> None:
    assert found([access(), access(NOON + HOUR, source=source)], sites=SITES) == []


def test_one_identity_travels_through_all_systems() -> None:
    reads = [access(who="userpass-ana"), access(NOON + HOUR, who="ana@example.com", system="aws", source="10.2.0.1")]
    assert found(reads, sites=SITES) == []
    assert [odd[1:] for odd in found(reads, sites=SITES, identity="ana")] == [("impossible-travel", 0.8)]


def test_the_distance_is_that_on_a_globe() -> None:
    assert distance(BERLIN, SYDNEY) == pytest.approx(16_090, rel=0.01)
    assert distance(BERLIN, BERLIN) == 0
    dateline = (Site("west", (), 0, 179.5), Site("east", (), 0, -179.5))
    assert distance(*dateline) == pytest.approx(111.2, rel=0.01)


@pytest.mark.parametrize(
    ("principal", "name"),
    [
        ("userpass-ana", "ana"),
        ("approle trainer-7", "trainer-7"),
        ("arn:aws:iam::123456789012:user/people/Ana", "ana"),
        ("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_x/ana@example.com", "ana"),
        ("arn:aws:sts::123456789012:assumed-role/trainer-7/i-0abc", "trainer-7"),
        ("ana@example.com", "ana"),
        ("serviceAccount:trainer-7@lab.iam.gserviceaccount.com", "trainer-7"),
        ("system:serviceaccount:ml:trainer-7", "trainer-7"),
        ("", ""),
        ("@", "@"),
        ("a:", "a:"),
    ],
)
def test_a_name_is_the_same_in_every_system(principal: str, name: str) -> None:
    assert plain_name(principal) == name


@pytest.mark.parametrize(
    ("principal", "person"),
    [
        ("userpass-ana", True),
        ("oidc-ana", True),
        ("ana@example.com", True),
        ("approle web", False),
        ("web@lab.iam.gserviceaccount.com", False),
        ("arn:aws:iam::123456789012:user/ana", False),
    ],
)
def test_people_are_told_by_how_they_log_in(principal: str, person: bool) -> None:
    assert is_person(principal) is person


def bulk(seconds: int, systems: tuple[str, ...], **more: Any) -> list[Access]:
    return [
        access(NOON + timedelta(seconds=seconds * n), f"ml/{n}", system=systems[n % len(systems)], **more)
        for n in range(12)
    ]


def test_ten_new_secrets_out_of_two_clouds_in_half_an_hour_are_told() -> None:
    assert [odd[1:] for odd in found(bulk(60, ("aws", "gcp")))] == [("several-systems", 0.8)] * 3
    assert found(bulk(60, ("aws",))) == [], "one system is no crowd"
    assert found(bulk(240, ("aws", "gcp"))) == [], "slower"
    again = [*bulk(60, ("aws",)), *bulk(60, ("aws",))]
    assert found(again) == []


def test_who_is_one_in_several_systems_is_told_by_the_catalogue_or_the_name() -> None:
    reads = [
        access(NOON + timedelta(seconds=n), f"ml/{n}", system=("aws", "gcp")[n % 2], who=("a", "b")[n % 2])
        for n in range(12)
    ]
    assert found(reads) == []
    assert len(found(reads, identity="ana")) == 3


def cut(secret: str, at: datetime) -> Entry:
    return Entry(at, "worker", "cut", Outcome.DONE, secret=secret)


@pytest.mark.attack
def test_other_secrets_read_by_a_revoked_secrets_readers_are_watched() -> None:
    history = SecretHistory([cut("ml/db", NOON + HOUR)])
    off = {"after-revocation": Tuning(0), "dormant": Tuning(0)}
    before = [access(), access(path="ml/key"), access(path="web/tls", who="web"), access(path="ml/key", who="web")]
    later = NOON + DAY
    reads = [
        access(later, path="ml/key"),
        access(later + HOUR, path="ml/key", source="203.0.113.9"),
        access(later + HOUR, path="ml/key", who="stranger", denied=True),
        access(later + HOUR, path="web/tls", who="stranger"),
        access(later + HOUR, path="ml/key", who="web"),
        access(NOON + 16 * DAY, path="ml/key", who="another"),
    ]
    assert found([*before, *reads], history, tunings=off) == [(later + HOUR, "watched", 0.3)] * 2


def test_what_few_of_its_readers_read_is_not_watched() -> None:
    history = SecretHistory([cut("ml/db", NOON + HOUR)])
    off = {"after-revocation": Tuning(0)}
    readers = [access(path=path, who=f"app-{n}") for n in range(3) for path in ("ml/db", f"ml/{n}", "ml/all")]
    later = [access(NOON + DAY, path, who="stranger") for path in ("ml/0", "ml/all")]
    assert found([*readers, *later], history, tunings=off) == [(NOON + DAY, "watched", 0.3)]


def test_who_reads_everything_has_nothing_watched() -> None:
    history = SecretHistory([cut("ml/0", NOON + HOUR)])
    everything = [access(NOON + timedelta(seconds=n), f"ml/{n}") for n in range(FAR_READER + 2)]
    off = {name: Tuning(0) for name in ("enumeration", "after-revocation")}
    assert found([*everything, access(NOON + DAY, "ml/7", who="stranger")], history, tunings=off) == []
    few = everything[: FAR_READER + 1]
    assert found([*few, access(NOON + DAY, "ml/7", who="stranger")], history, tunings=off) == [
        (NOON + DAY, "watched", 0.3)
    ]


def test_what_very_many_were_given_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    off = {"after-revocation": Tuning(0)}
    readers = [access(path=path, who=f"app-{n}") for n in range(3) for path in ("ml/db", "all/x")]
    others = [access(path="all/x", who=f"web-{n}") for n in range(3)]
    stranger = access(NOON + DAY, "all/x", who="stranger")
    for most, told in ((6, 1), (5, 0)):
        monkeypatch.setattr(detector_module, "MANY_READERS", most)
        history = SecretHistory([cut("ml/db", NOON + HOUR)])
        assert len(found([*readers, *others, stranger], history, tunings=off)) == told


@pytest.mark.attack
def test_a_watched_secret_read_from_a_new_address_raises_an_alert() -> None:
    """A person at the desk, by night, and elsewhere; and who has logged in there."""
    ana: dict[str, Any] = {"who": "oidc-ana", "version": 3}
    days = [access(NOON + DAY * day, f"ml/{name}", **ana) for day in range(6) for name in ("db", "x")]
    night = NOON + DAY * 6 - 12 * HOUR

    def told(at: datetime, source: str, *logins: Access) -> list[float]:
        history = SecretHistory([cut("ml/db", NOON + DAY * 5 + HOUR)])
        other = [access(NOON + HOUR, path, who="app") for path in ("ml/db", "ml/key")]
        read = access(at, "ml/key", source, **ana, login="a")
        tuned = {"unusual": Tuning(0), "after-revocation": Tuning(0)}
        detector = Detector(SamePolicy(MonitorPolicy(tunings=tuned)), history)
        accesses = sorted([*days, *other, *logins, read], key=lambda each: each.at)
        return [event.score / 1000 for alert in detector.alerts(accesses) for event in alert.events]

    elsewhere = "203.0.113.9"
    login = access(night - HOUR, "auth/oidc/oidc/callback", elsewhere, "oidc-ana", action=LOGIN, login="a")
    assert told(night, "10.1.0.1") == [], "hours, new-path and watched: the secret is near its own"
    assert told(night, elsewhere) == [1.2]
    assert told(night, elsewhere, login) == []


def test_a_revocation_that_the_ledger_tells_later_is_heard_of_live() -> None:
    history = SecretHistory()
    policy: dict[str, Any] = {**NO_SCORES}
    detector = Detector(SamePolicy(MonitorPolicy(**policy)), history, live=True)
    detector.take_all([access(), access(path="ml/key"), access(NOON + HOUR)])
    history.add(cut("ml/db", NOON + HOUR / 2))
    assert not detector.take(access(NOON + HOUR, path="ml/key"))
    (alert,) = detector.take(access(NOON + HOUR, path="ml/key", who="stranger"))
    assert [factor.name for factor in alert.factors] == ["watched"]


def tries(apart: timedelta, different: int, who: str = "app") -> list[Access]:
    return [access(NOON + n * apart, f"ml/{n % different}", who=who, denied=True) for n in range(17)]


@pytest.mark.attack
def test_slow_refusals_over_many_secrets_raise_an_alert() -> None:
    slowly = timedelta(minutes=30)
    assert [odd[1:] for odd in found(tries(slowly, 17))] == [("slow-guessing", 0.8)] * 3
    assert found(tries(slowly, 14)) == [], "the same again is no guess"
    assert found(tries(timedelta(hours=2), 17)) == [], "slower"
    given = [access(NOON - HOUR, f"ml/{n}") for n in range(17)]
    assert found([*given, *tries(slowly, 17)], tunings={"enumeration": Tuning(0)}) == [], "that is broken"


def logins(names: int, addresses: int) -> list[Access]:
    return [
        access(
            NOON + n * timedelta(minutes=6),
            f"auth/userpass/login/{n % names}",
            f"203.0.113.{n % addresses}",
            f"failed login from 203.0.113.{n % addresses}",
            denied=True,
            action=LOGIN,
        )
        for n in range(15)
    ]


@pytest.mark.parametrize(("names", "addresses", "odd"), [(15, 1, True), (1, 15, True), (1, 1, False), (14, 14, False)])
def test_who_tries_many_names_or_from_many_addresses_slowly_is_told(names: int, addresses: int, odd: bool) -> None:
    assert [one[1:] for one in found(logins(names, addresses))] == [("slow-guessing", 0.8)] * odd


@pytest.mark.attack
def test_probing_of_unused_names_from_many_networks_raises_one_alert() -> None:
    def sprayed(count: int, day: int = 6, network: str = "60") -> list[Access]:
        return [
            access(
                NOON + DAY * day + n * timedelta(minutes=6),
                f"auth/userpass/login/{n}",
                f"{network}.{n}.1.1",
                f"failed login from {n}",
                denied=True,
                action=LOGIN,
            )
            for n in range(count)
        ]

    off = {"unusual": Tuning(1, 4, DAY)}
    learned = [access()]
    tries = sprayed(29)
    assert found([*learned, *tries], tunings=off, alert=500) == [(tries[14].at, "slow-guessing", 0.8)]
    assert len(found([*learned, *sprayed(30)], tunings=off, alert=500)) == 2, "and again after as many"
    assert found([*learned, *sprayed(14)], tunings=off, alert=500) == []
    assert found([*learned, *sprayed(29, day=4)], tunings=off, alert=500) == [], "it has learned for four days"
    home = [access(NOON + timedelta(seconds=n), source=f"60.{n}.9.9", who=f"oidc-{n}") for n in range(29)]
    assert found([*learned, *home, *tries], tunings=off, alert=500) == [], "people read there"
