"""Detection: rules about logins, sessions and policy changes."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicy, SamePolicy
from keyturn.core.ports.access import CHANGE, LOGIN, Access

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NEXT = MONDAY + 7 * DAY + timedelta(minutes=10)
WEB, ANA = "approle web", "oidc-ana"
HOME, HOTEL = "10.1.0.1", "203.0.113.9"
NO_SCORES: dict[str, Any] = {"limit_weight": 0, "hours_weight": 0, "address_weight": 0, "path_weight": 0, "alert": 0}


def access(at: datetime, path: str = "ml/db", source: str = HOME, who: str = WEB, **more: Any) -> Access:
    fields = {"login": f"{at:%d}", "granted": "ml", "agent": "bao/2.4", **more}
    return Access(at, "hub", path, fields.pop("version", 3), who, source, **fields)


def login(at: datetime, source: str = HOME, who: str = WEB, policies: str = "ml,payments", **more: Any) -> Access:
    minute = timedelta(minutes=1)
    return access(at - minute, "auth/a/login", source, who, action=LOGIN, version=None, granted=policies, **more)


def change(at: datetime, path: str, who: str) -> Access:
    return access(at, path, who=who, action=CHANGE, version=None, granted="admin")


def workdays(days: int = 7, who: str = WEB, policies: str = "ml,payments", **more: Any) -> list[Access]:
    """A login a day, and six reads with it."""
    reads = [access(MONDAY + DAY * day + HOUR / 2 * half, who=who, **more) for day in range(days) for half in range(6)]
    return sorted(
        [*reads, *(login(MONDAY + DAY * day, who=who, policies=policies) for day in range(days))],
        key=lambda each: each.at,
    )


def odd(accesses: Iterable[Access], **policy: Any) -> list[tuple[datetime, str, float]]:
    """Each odd access, the rules that say so, and the score."""
    detector = Detector(SamePolicy(MonitorPolicy(**policy)))
    return [
        (event.at, " ".join(event.factors), event.score / 1000)
        for alert in detector.alerts(accesses)
        for event in alert.events
    ]


@pytest.mark.parametrize(("who", "agent"), [(WEB, "bao/2.4"), (ANA, "curl/8"), (ANA, "")])
@pytest.mark.attack
def test_a_session_that_is_used_from_another_network_than_it_was_made_from_is_odd(who: str, agent: str) -> None:
    stolen = access(NEXT, source=HOTEL, who=who, agent=agent)
    before = [*workdays(who=who), login(NEXT, who=who)]
    assert odd([*before, stolen], **NO_SCORES) == [(NEXT, "moved-session unusual", 1.6)]
    unknown = access(NEXT, source=HOTEL, who=who, agent=agent, login="other")
    assert odd([*before, unknown], **NO_SCORES) == [(NEXT, "unusual", 0.8)]
    near = access(NEXT, source="10.1.9.9", who=who, agent=agent)
    assert odd([*before, near], **NO_SCORES) == []


def test_the_words_say_where_the_session_was_made() -> None:
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES)))
    (alert,) = detector.alerts([login(NEXT), access(NEXT, source=HOTEL)])
    assert [factor.words for factor in alert.factors] == [
        "with a login that was made from 10.1.0.1 at 2026-03-09 09:09 UTC"
    ]


def test_who_moves_with_a_session_on_two_days_does_so_usually() -> None:
    moves = [
        event
        for day in range(4)
        for event in (login(MONDAY + DAY * day), access(MONDAY + DAY * day, source=f"198.5{day}.100.1"))
    ]
    assert [at for at, *_ in odd(moves, **NO_SCORES)] == [MONDAY, MONDAY + DAY]


def test_where_the_logins_of_several_of_a_kind_are_used_from_elsewhere_one_more_is_nothing() -> None:
    jobs = [(n, f"jwt-job-{n}", MONDAY + HOUR * n) for n in range(9)]
    moves = [
        event for n, who, at in jobs for event in (login(at, who=who), access(at, source=f"198.5{n}.1.1", who=who))
    ]
    assert [at for at, *_ in odd(moves, **NO_SCORES)] == [MONDAY + HOUR * n for n in range(4)]


def test_a_person_who_logs_in_elsewhere_is_there() -> None:
    days = workdays(who=ANA)
    visit = [login(NEXT, HOTEL, ANA), access(NEXT, "ml/key", HOTEL, ANA)]
    assert odd([*days, *visit]) == []
    assert odd([*days, *visit[1:]]) == [(NEXT, "new-address new-path unusual", 1.5)]
    other = [login(NEXT, HOTEL, ANA), access(NEXT, source=HOTEL, who=ANA, agent="curl/8")]
    assert odd([*days, *other]) == [(NEXT, "new-address unusual", 1.2)], "it has another program"


def test_nobody_is_at_two_places_and_a_programs_login_shows_no_place() -> None:
    days = workdays(who=ANA)
    both = [login(NEXT, HOTEL, ANA), access(NEXT, who=ANA, login="08"), access(NEXT + HOUR, source=HOTEL, who=ANA)]
    assert odd([*days, *both]) == [(NEXT + HOUR, "new-address unusual", 1.2)]
    moved = [login(NEXT, HOTEL), access(NEXT, source=HOTEL)]
    assert odd([*workdays(), *moved]) == [(NEXT, "new-address unusual", 1.2)]


RESTRICTED: dict[str, Any] = NO_SCORES | {"restricted": True}
FIRST = access(NEXT, "payments/db", granted="payments")


def test_a_first_read_is_expected_where_somebody_else_has_just_changed_the_policy() -> None:
    before = workdays()
    assert odd([*before, FIRST], **RESTRICTED) == [(NEXT, "first-restricted unusual", 1.6)]
    changed = change(NEXT - HOUR, "policies/payments", "oidc-eva")
    assert odd([*before, changed, FIRST], **RESTRICTED) == []
    for other in ("policies/others", "auth/approle/role/payments"):
        assert odd([*before, change(NEXT - HOUR, other, "oidc-eva"), FIRST], **RESTRICTED) != []
    late = [*workdays(), changed, access(NEXT + 7 * DAY, "payments/db", granted="payments")]
    assert odd(late, **RESTRICTED) == [(late[-1].at, "first-restricted unusual", 1.6)]


def test_a_policy_that_was_just_given_explains_a_first_read_and_an_old_one_does_not() -> None:
    before = workdays(policies="ml")
    assert odd([*before, login(NEXT), FIRST], **RESTRICTED) == []
    assert odd([*before, FIRST], **RESTRICTED) == [(NEXT, "first-restricted unusual", 1.6)], "no login had it"
    member = change(NEXT - HOUR, "identity/group/name/payments", "oidc-eva")
    assert odd([*before, member, FIRST], **RESTRICTED) == [], "its entity was given it since its login"
    old = [login(MONDAY - DAY), access(MONDAY - DAY), *before, FIRST]
    assert odd(old, **RESTRICTED) == [(NEXT, "first-restricted unusual", 1.6)]


def test_a_newcomers_own_policy_explains_what_it_reads_and_one_that_many_have_does_not() -> None:
    many = [login(NEXT + timedelta(seconds=n), who=f"approle job-{n}", policies="payments") for n in range(10)]
    newcomer = [login(NEXT + HOUR), access(NEXT + HOUR, "payments/db", granted="payments")]
    assert odd([*workdays(who=ANA, policies="ml"), *newcomer], **RESTRICTED) == []
    odd_read = (newcomer[-1].at, "first-restricted", 0.8)
    assert odd([*workdays(who=ANA, policies="ml"), *many, *newcomer], **RESTRICTED) == [odd_read]


def test_a_change_of_a_policy_that_many_have_explains_nothing() -> None:
    many = [login(MONDAY + timedelta(seconds=n), who=f"approle job-{n}") for n in range(10)]
    changed = change(NEXT - HOUR, "policies/payments", "oidc-eva")
    assert odd([*many, *workdays()[1:], changed, FIRST], **RESTRICTED) == [(NEXT, "first-restricted unusual", 1.6)]


@pytest.mark.attack
def test_reading_under_a_self_changed_policy_raises_an_alert() -> None:
    changed = change(NEXT - HOUR, "policies/payments", WEB)
    assert odd([*workdays(), changed, FIRST], **NO_SCORES) == [(NEXT, "self-granted unusual", 1.6)]
    denied = Access(changed.at, "hub", changed.path, None, WEB, HOME, denied=True, action=CHANGE)
    assert odd([*workdays(), denied, FIRST], **NO_SCORES) == [(NEXT, "unusual", 0.8)]
    usual = access(NEXT, granted="payments")
    assert odd([*workdays(), changed, usual], **NO_SCORES) == [], "it was given that before"


def test_who_changes_a_role_and_has_a_new_policy_since_is_odd() -> None:
    changed = change(NEXT - HOUR, "auth/approle/role/web", WEB)
    before = workdays(policies="ml")
    assert odd([*before, changed, login(NEXT), FIRST], **NO_SCORES) == [(NEXT, "self-granted unusual", 1.6)]
    assert odd([*before, login(NEXT), FIRST], **NO_SCORES) == []


@pytest.mark.parametrize("who", [WEB, ANA])
def test_a_program_that_was_begun_long_ago_needs_nothing_new(who: str) -> None:
    days, late = [*workdays(who=who), login(NEXT, who=who), access(NEXT, who=who)], NEXT + 2 * HOUR
    words = (
        "unlike it on 7 days before: it had done without that secret since it logged in, and no one has just granted it"
    )
    midway = [(late, "unusual", 0.8)] if who == WEB else []
    assert odd([*days, access(late, "ml/key", who=who)], **NO_SCORES) == midway
    assert odd([*days, access(NEXT + HOUR / 2, "ml/key", who=who)], **NO_SCORES) == []
    assert odd([*days, access(late, "ml/key", who=who, version=1)], **NO_SCORES) == [], "nobody was given it before"
    changed = change(NEXT + HOUR, "policies/ml", "oidc-eva")
    assert odd([*days, changed, access(late, "ml/key", who=who)], **NO_SCORES) == []
    detector = Detector(SamePolicy(MonitorPolicy(**NO_SCORES)))
    alerts = list(detector.alerts([*days, access(late, "ml/key", who=who)]))
    assert all(alert.factors[0].words.startswith(words) for alert in alerts)


@pytest.mark.attack
def test_a_person_is_not_at_two_places_within_two_hours() -> None:
    days, carried = [*workdays(who=ANA), login(NEXT, who=ANA)], access(NEXT, source=HOTEL, who=ANA)
    home = access(NEXT + HOUR, who=ANA)
    again = access(NEXT + HOUR + HOUR / 2, source=HOTEL, who=ANA)
    assert odd([*days, carried, again], **NO_SCORES) == []
    both = [(home.at, "moved-session", 0.8), (again.at, "moved-session", 0.8)]
    assert odd([*days, carried, home, again], **NO_SCORES) == both
    later = [carried, access(NEXT + 2 * HOUR, who=ANA)]
    assert odd([*days, *later], **NO_SCORES) == []
    made = [*workdays(who=ANA), login(NEXT, HOTEL, ANA), carried]
    assert odd([*made, home], **NO_SCORES) == [], "it goes on elsewhere with that login"
    other = access(NEXT + HOUR, who=ANA, login="08")
    assert odd([*made, other], **NO_SCORES) == [(other.at, "moved-session", 0.8)]


@pytest.mark.attack
def test_a_login_after_many_failures_does_not_prove_a_persons_location() -> None:
    failed = [
        access(NEXT - HOUR / 4, "auth/a/login/ana", HOTEL, f"failed login {n}", denied=True, action=LOGIN, version=n)
        for n in range(3)
    ]
    came_in = [login(NEXT, HOTEL, ANA), access(NEXT, source=HOTEL, who=ANA)]
    assert odd([*workdays(who=ANA), *failed[1:], *came_in], **NO_SCORES) == []
    assert odd([*workdays(who=ANA), *failed, *came_in], **NO_SCORES) == [(NEXT, "unusual", 0.8)]


@pytest.mark.attack
def test_new_behaviour_after_a_month_of_absence_raises_an_alert() -> None:
    back = MONDAY + 40 * DAY
    reads = [access(back), access(back + HOUR, "ml/key"), access(back + 2 * HOUR)]
    assert odd([*workdays(2), *reads], **NO_SCORES) == [
        (back, "dormant", 0.5),
        (back + HOUR, "awakened", 0.8),
    ]
    many = [access(back + timedelta(minutes=n)) for n in range(11)]
    assert odd([access(MONDAY), *many[:10]], **NO_SCORES) == [(back, "dormant", 0.5)]
    assert odd([access(MONDAY), *many], **NO_SCORES) == [(back, "dormant", 0.5), (many[-1].at, "awakened", 0.8)]
    usual = [access(MONDAY + 29 * DAY), access(MONDAY + 29 * DAY + HOUR, "ml/key")]
    assert odd([*workdays(2), *usual], **NO_SCORES) == []
