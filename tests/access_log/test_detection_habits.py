"""Detection: habits of each principal, and deviations from them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.networks import network_of
from keyturn.access_log.detection.peers import kind_of
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy, Tuning
from keyturn.core.ports.access import Access

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
WEB = "approle web"
WRAPPED = "wrapping token of approle trainer-7"
NO_SCORES: dict[str, Any] = {"limit_weight": 0, "hours_weight": 0, "address_weight": 0, "path_weight": 0, "alert": 0}


def access(at: datetime, path: str = "ml/db", source: str = "10.1.0.1", who: str = WEB, **more: Any) -> Access:
    return Access(at, "hub", path, more.pop("version", 3), who, source, **more)


def workdays(days: int = 7, who: str = WEB, **more: Any) -> list[Access]:
    """Three hours a day, twice an hour."""
    return [access(MONDAY + DAY * day + HOUR / 2 * half, who=who, **more) for day in range(days) for half in range(6)]


def odd(accesses: Iterable[Access], **policy: Any) -> list[tuple[datetime, str, float]]:
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES | policy)))
    return [
        (event.at, alert.factors[0].words, event.score / 1000)
        for alert in detector.alerts(sorted(accesses, key=lambda one: one.at))
        for event in alert.events
        if "unusual" in event.factors
    ]


NEXT = MONDAY + 7 * DAY + timedelta(minutes=10)
UNLIKE = "unlike it on 7 days before: "


@pytest.mark.parametrize(
    ("strange", "words"),
    [
        (access(NEXT, "payments/db"), "it read nothing in payments, nor do many like it"),
        (access(NEXT, "payments/db", denied=True), "it read nothing in payments, nor do many like it"),
        (
            access(NEXT, "payments/db", "10.1.9.9"),
            "it read nothing in payments, nor do many like it; it always read from 10.1.0.1, not 10.1.9.9",
        ),
        (access(NEXT, source="203.0.113.9"), "it read nothing from 203.0.0.0/16, nor does anybody else"),
        (
            access(NEXT + 6 * HOUR, "payments/db", "2001:db8::1"),
            "it read nothing in payments, nor do many like it; it read nothing from 2001:db8::/32, nor does anybody"
            " else; it read nothing about 15:00 UTC",
        ),
    ],
)
def test_what_a_principal_never_does_is_told_in_words(strange: Access, words: str) -> None:
    assert odd([*workdays(), strange]) == [(strange.at, UNLIKE + words, 0.8)]
    assert odd([*workdays(4), strange]) == [], "four days make no habit"


@pytest.mark.parametrize(
    "usual",
    [
        access(NEXT, "ml/key"),
        access(NEXT, "new/db", version=1),
        access(NEXT, "team/app-2/db", who="approle team"),
        access(NEXT, source="10.1.9.9"),
        access(NEXT + 3 * HOUR),
        access(NEXT, who="approle new"),
    ],
)
def test_what_is_near_its_habits_is_let_be(usual: Access) -> None:
    team = workdays(who="approle team", path="team/app-1/db")
    assert odd([*workdays(), *team, usual]) == []
    assert odd([*workdays(who="approle team", path="team/db"), access(NEXT, "x/db", who="approle team")]) != []


def test_a_pace_that_it_never_had_makes_other_things_stranger() -> None:
    many = [access(NEXT + timedelta(seconds=n)) for n in range(70)]
    assert odd([*workdays(), *many]) == []
    strange = access(NEXT + timedelta(seconds=70), source="203.0.113.9")
    ((_, words, score),) = odd([*workdays(), *many, strange])
    assert score == 0.8
    assert "from 203.0.0.0/16, nor does anybody else" in words
    assert "more than 60 accesses within an hour" in words


def test_the_hour_says_something_of_people_and_of_programs_that_have_not_begun_anew_elsewhere() -> None:
    late = NEXT + 6 * HOUR
    moved = access(NEXT, source="10.1.9.9")
    for hours, told in ((6, False), (30, True)):
        read = access(moved.at + HOUR * hours, source="10.1.9.9")
        assert bool(odd([*workdays(), moved, read])) is told
    for who, source, told in ((WEB, "10.1.0.1", True), (WEB, "10.1.9.9", False), ("oidc-ana", "10.1.9.9", True)):
        ((_, words, _),) = odd([*workdays(who=who), access(late, "payments/db", source, who)])
        assert words.endswith("it read nothing about 15:00 UTC") is told


@pytest.mark.attack
def test_several_small_deviations_are_combined() -> None:
    by_and_by = [access(NEXT, source="203.0.113.9"), access(NEXT + HOUR, "payments/db", source="203.0.113.9")]
    assert [one[2] for one in odd([*workdays(), *by_and_by])] == [0.8, 0.8]
    words = UNLIKE + "it read nothing in payments, nor do many like it; and shortly before, another network"
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES)), live=True)
    detector.learn([*workdays(), by_and_by[0]])
    detector.advance(NEXT + HOUR)
    assert [factor.words for alert in detector.take(by_and_by[1]) for factor in alert.factors] == [words]


def test_a_deployment_of_many_that_are_alike_is_one_thing() -> None:
    many = [f"approle trainer-{n}" for n in range(20)]
    learned = [read for who in many for read in workdays(who=who)]
    moved = [access(NEXT + timedelta(seconds=n), "new/db", "10.9.0.1", who) for n, who in enumerate(many)]
    assert [one[0] for one in odd([*learned, *moved])] == [moved[0].at]


def test_a_newcomer_among_many_that_are_alike_brings_nothing_new() -> None:
    many = [f"approle trainer-{n}" for n in range(20)]
    learned = [read for who in many[1:] for read in workdays(who=who)]
    alike = [*workdays(who=many[0], path="x/db"), access(NEXT, who=many[0])]
    assert odd([*learned, *alike]) == []


def test_a_newcomer_is_compared_with_many_of_its_kind() -> None:
    jobs = [access(MONDAY + HOUR * n, f"ci/{n % 3}/x", "10.7.0.1", f"token-ci-{n}") for n in range(24 * 7)]
    alike, stranger = (access(NEXT, "ci/1/x", source, "token-ci-999") for source in ("10.7.0.9", "203.0.113.9"))
    assert odd([*jobs, alike]) == []
    words = "unlike others of its kind: it read nothing from 203.0.0.0/16, nor does anybody else"
    assert odd([*jobs, stranger]) == [(NEXT, words, 0.8)]
    assert odd([*jobs[-15:], stranger]) == [], "they are too few"


def test_what_people_often_do_says_nothing_of_one_of_them() -> None:
    people = [f"userpass-{'abcdefghijklmnopqrst'[n]}na" for n in range(20)]
    learned = [read for who in people for read in workdays(who=who)]
    travels = [access(NEXT + HOUR / 10 * n, source=f"{60 + n}.1.1.1", who=who) for n, who in enumerate(people)]
    assert [one[0] for one in odd([*learned, *travels])] == [read.at for read in travels[:4]]


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.1.2.3, said to be for 203.0.113.9", "10.1.0.0/16"),
        ("::ffff:10.1.2.3", "10.1.0.0/16"),
        ("2001:db8:1:2::3", "2001:db8::/32"),
        ("@", "@"),
    ],
)
def test_near_addresses_are_of_one_network(source: str, network: str) -> None:
    assert network_of(source) == network


@pytest.mark.parametrize(
    ("principal", "kind"),
    [
        ("approle trainer-17", "approle trainer-#"),
        ("userpass-ana", "userpass-"),
        ("approle web", "approle "),
        ("x", "x"),
    ],
)
def test_principals_are_alike_by_their_names_or_how_they_log_in(principal: str, kind: str) -> None:
    assert kind_of(principal) == kind


LATE = MONDAY.replace(hour=23) + 7 * DAY


def nights(days: int) -> list[Access]:
    return [access(read.at.replace(hour=23), f"ml/{n}") for read in workdays(days) for n in range(2)]


@pytest.mark.parametrize(("days", "scores"), [(7, set()), (4, {0.9})])
def test_what_it_did_on_other_days_is_no_alert_again(days: int, scores: set[float]) -> None:
    """A nightly job that comes back to an address and a secret of last week."""
    before = [*nights(days), access(MONDAY.replace(hour=23), "ml/old", "10.1.0.7")]
    again = access(LATE, "ml/old", "10.1.0.7")
    detector = Detector(SamePolicy())
    alerts = list(detector.alerts([*sorted(before, key=lambda one: one.at), again]))
    assert {event.score / 1000 for alert in alerts for event in alert.events if event.at == LATE} == scores
    assert bool(detector.counts.explained) is (days == 7)


def test_what_it_never_did_keeps_its_documented_score() -> None:
    stolen = access(LATE, "tls/other", "10.1.0.9")
    off = MonitorPolicy(alert=650, tunings={"unusual": Tuning(0)})
    alerts = list(Detector(SamePolicy(off)).alerts([*nights(7), stolen]))
    assert [(event.at, event.score / 1000) for event in alerts[-1].events] == [(LATE, 0.9)]


def test_more_than_the_limit_is_explained_by_days_with_more() -> None:
    policy = MonitorPolicy(limit=5, alert=400, address_weight=0)
    assert list(Detector(SamePolicy(policy)).alerts(nights(4))) != []
    late = [read for read in nights(9) if read.at > LATE - HOUR]
    detector = Detector(SamePolicy(policy))
    detector.learn(nights(7))
    assert list(detector.alerts(late)) == []


def reads(who: str, *paths: str, day: int = 0) -> list[Access]:
    return [access(MONDAY + DAY * day + timedelta(seconds=n), path, who=who) for n, path in enumerate(paths)]


def restricted(accesses: list[Access]) -> set[str]:
    """Who is told to be new to a restricted secret; those of web and ml are none."""

    class Policies:
        def policy(self, principal: str, path: str) -> MonitorPolicy:
            return TOP if "/top/" in path else OTHER

    return {alert.principal for alert in Detector(Policies()).alerts(accesses)}


TOP, OTHER = (MonitorPolicy(**NO_SCORES | {"restricted": secret}) for secret in (True, False))
TEAM = [each for name in ("ana", "ben", "eva") for each in reads(name, "ml/a/x", "ml/b/x", "all/x")]
OTHERS = reads("web", "web/a/x", "web/b/x", "all/x")
LEARNED = [*TEAM, *OTHERS, *reads("ana", "ml/top/x"), *reads("ben", "ml/top/x")]


@pytest.mark.parametrize(
    ("later", "principals"),
    [
        (reads("eva", "ml/top/x", day=3), set()),
        (reads("ana", "ml/top/other", day=3), set()),
        (reads("eva", "ml/top/x", "ml/top/y", day=3), {"eva"}),
        (reads("web", "ml/top/x", day=3), {"web"}),
        (reads("eva", "web/top/x", day=3), {"eva"}),
        (reads("web", "web/top/x", day=3), set()),
        (reads("new", "ml/a/x", "ml/b/x", "all/x", "ml/top/x", day=3), {"new"}),
    ],
)
def test_the_restricted_secrets_of_a_team_are_no_first_of_its_members(
    later: list[Access], principals: set[str]
) -> None:
    assert restricted(sorted([*LEARNED, *later], key=lambda one: one.at)) == principals


def test_what_colleagues_read_is_not_unlike_one_of_them() -> None:
    team = ("ana", "ben", "eva")
    learned = [read for who in team for folder in ("a", "b") for read in workdays(who=who, path=f"{folder}/x")]
    learned += [access(MONDAY, "d/x", who=f"{name}app") for name in "abcdefghijkl"]
    eva = access(NEXT, "c/x", who="eva")
    for colleagues, steady, strange in (
        (("ana", "ben"), False, False),
        (("ana", "ben"), True, True),
        (("ana", "ben"), None, False),
        (("ana",), False, True),
        ((), False, True),
    ):
        before = [access(NEXT - 30 * HOUR, "c/x", who=who) for who in colleagues]
        before += [access(NEXT - 20 * HOUR, "b/new", who="eva")] if steady is False else []
        reads = [*learned, *before, eva]
        people = [msgspec.structs.replace(each, principal=f"oidc-{each.principal}") for each in reads]
        assert (NEXT in {one[0] for one in odd(people if steady is None else reads)}) is strange


def test_a_program_whose_secret_is_broken_does_not_guess() -> None:
    failing = [access(NEXT + timedelta(seconds=n), denied=True) for n in range(20)]
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES)))
    assert list(detector.alerts([*workdays(), *failing])) == []
    guessing = [access(read.at, "ml/other", denied=True) for read in failing]
    (alert,) = Detector(SamePolicy(MonitorPolicy(**NO_SCORES))).alerts([*workdays(), *guessing])
    assert [factor.name for factor in alert.factors] == ["failed-reads"]


@pytest.mark.attack
def test_a_program_login_from_a_workstation_raises_an_alert() -> None:
    desks = [read for who in ("ana", "ben") for read in workdays(who=f"oidc-{who}", source="10.2.0.1")]
    carried = access(NEXT, source="10.2.0.9")
    words = UNLIKE + "it read nothing from 10.2.0.0/16, nor do other programs"
    others = [read for who in ("a", "b") for read in workdays(who=f"approle {who}", source="10.2.0.7")]
    assert odd([*workdays(), *desks, carried]) == [(NEXT, words, 0.8)]
    assert odd([*workdays(), *desks, *others, carried]) == []


@pytest.mark.attack
def test_many_new_secrets_on_one_day_raise_an_alert() -> None:
    def more(count: int, day: int) -> list[Access]:
        return [access(MONDAY + DAY * day + HOUR / 9 * n, f"ml/{day}-{n}") for n in range(count)]

    words = UNLIKE + "it was given 3 new secrets before on that day"
    assert odd([*workdays(), *more(5, 7)]) == [(more(4, 7)[-1].at, words, 0.8)]
    assert odd([*workdays(), *more(3, 7)]) == []
    assert odd([*workdays(), *more(3, 5), *more(5, 7)]) == [], "it had such a day"


@pytest.mark.attack
def test_a_read_outside_a_programs_timetable_raises_an_alert() -> None:
    late = access(NEXT + 6 * HOUR)
    assert odd([*workdays(), late]) == [(late.at, UNLIKE + "it read nothing about 15:00 UTC", 0.8)]
    person = "oidc-ana"
    assert odd([*workdays(who=person), access(late.at, who=person)]) == [], "people are late at times"
    often = [access(MONDAY + DAY * day + HOUR * hour) for day in range(7) for hour in range(0, 14, 2)]
    assert odd([*often, late]) == [], "seven hours are no timetable"


@pytest.mark.attack
def test_many_reads_outside_a_programs_bulk_reads_raise_an_alert() -> None:
    def round_at(day: int, hour: int, count: int) -> list[Access]:
        return [access(MONDAY.replace(hour=hour) + DAY * day + timedelta(seconds=n)) for n in range(count)]

    nightly = [read for day in range(7) for hour in range(24) for read in round_at(day, hour, 200 if hour == 2 else 1)]
    between = round_at(7, 14, 100)
    words = UNLIKE + "more than 60 accesses within an hour"
    assert odd([*nightly, *between]) == [(between[60].at, words, 0.8)]
    assert odd([*nightly, *round_at(7, 3, 100)]) == [], "beside its round"
    assert odd([*nightly, *round_at(3, 18, 100), *round_at(4, 18, 100), *between]) == [], "at other hours, too"


def test_a_new_person_in_the_network_of_others_is_not_told_for_the_address() -> None:
    def scores(*others: str) -> set[int]:
        reads = [access(MONDAY, source="10.9.0.1", who=other) for other in others]
        reads += [access(MONDAY + 2 * DAY, who="oidc-new"), access(LATE - 5 * DAY, "ml/x", "10.9.0.7", "oidc-new")]
        alerts = Detector(SamePolicy()).alerts(reads)
        return {event.score for alert in alerts for event in alert.events if event.at == LATE - 5 * DAY}

    assert scores("oidc-ana", "oidc-ben") == set()
    assert scores("approle ana", "approle ben") == {900}, "it takes people"


def test_a_program_that_runs_each_week_is_compared_with_its_runs() -> None:
    def weekly(who: str) -> list[Access]:
        runs = [access(MONDAY + 7 * DAY * week, who=who) for week in range(2)]
        return [*runs, *(access(NEXT + 7 * DAY + HOUR / 9 * n, f"ml/{n}", who=who) for n in range(5))]

    words = "unlike it on 2 days before: it was given 3 new secrets before on that day"
    assert odd(weekly(WEB)) == [(NEXT + 7 * DAY + HOUR / 3, words, 0.8)]
    assert odd(weekly("oidc-ana")) == [], "people are given something new now and then"
