"""Detection: rules about deleted and destroyed versions, with their exact scores."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import hvac
import pytest

from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import MonitorPolicies, MonitorPolicy, SamePolicy, Tuning
from keyturn.access_log.detection.rules import mass_deletion
from keyturn.catalogue import Catalogue
from keyturn.catalogue.monitor_policies import DeclaredPolicies
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.core.ports.access import CHANGE, DELETE, DESTROY, LOGIN, READ, Access
from tests.access_log.hub import Hub

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
OWN = "approle keyturn-revoker"


def end(at: datetime = NOON, path: str = "ml/db", who: str = "approle app", **more: Any) -> Access:
    fields: dict[str, Any] = {"system": "hub", "version": 1, "source": "10.0.0.1", "action": DESTROY, **more}
    return Access(at=at, path=path, principal=who, **fields)


def burst(count: int = 10, at: datetime = NOON, apart: timedelta = MINUTE, **more: Any) -> list[Access]:
    return [end(at + number * apart, f"ml/{number}", **more) for number in range(count)]


def found(accesses: Iterable[Access], **policy: Any) -> list[tuple[datetime, str, float]]:
    """Each odd access, the rules that say so, and the score."""
    return events(Detector(SamePolicy(MonitorPolicy(**policy))), accesses)


def events(detector: Detector, accesses: Iterable[Access]) -> list[tuple[datetime, str, float]]:
    return [
        (event.at, " ".join(event.factors), event.score / 1000)
        for alert in detector.alerts(accesses)
        for event in alert.events
    ]


@pytest.mark.attack
def test_ten_secrets_ended_within_ten_minutes_raise_an_alert() -> None:
    told = burst(11)
    assert found(told) == [(told[9].at, "mass-deletion", 1.0), (told[10].at, "mass-deletion", 1.0)]
    assert found(burst(9)) == []
    assert found(burst(30, apart=timedelta(seconds=67))) == [], "slower"
    assert found([end(NOON + timedelta(seconds=n)) for n in range(30)]) == [], "one secret's versions, one by one"
    assert found([one for n in range(9) for one in burst(2, who=f"app-{n}")]) == [], "of several"


@pytest.mark.parametrize("more", [{"action": DELETE}, {"denied": True}, {"system": "aws"}])
def test_what_can_be_taken_back_what_was_refused_and_what_another_system_tells_counts_too(more: dict[str, Any]) -> None:
    assert [odd[1:] for odd in found(burst(**more))] == [("mass-deletion", 1.0)]


def nights(count: int, each: int = 10, **more: Any) -> list[Access]:
    return [access for night in range(count) for access in burst(each, NOON + night * DAY, **more)]


def test_what_a_program_cleans_up_on_other_days_is_let_be() -> None:
    assert [odd[0].date() for odd in found(nights(5))] == [NOON.date(), (NOON + DAY).date()]
    more = burst(21, NOON + 5 * DAY, timedelta(seconds=20))
    assert [odd[0] for odd in found([*nights(5), *more])][2:] == [more[20].at], "more than twice as many"
    assert len(found(nights(5, who="userpass-ana"))) == 5, "people have no such habit"
    assert len(found(nights(5, denied=True))) == 5, "nobody has allowed it"
    late = burst(at=NOON + 40 * DAY)
    assert [odd[0] for odd in found([*nights(5), *late])][2:] == [late[-1].at], "that is long ago"


def test_what_is_remembered_of_who_ends_secrets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mass_deletion, "REMEMBERED", 5)
    monkeypatch.setattr(mass_deletion, "COUNTED", 5)
    assert found(burst(20)) == []
    assert found(burst(20), tunings={"mass-deletion": Tuning(1000, 5, timedelta(minutes=10))}) != []
    others = [end(NOON + 9 * MINUTE - timedelta(seconds=9 - n), who=f"app-{n}") for n in range(9)]
    four = {"mass-deletion": Tuning(1000, 4, timedelta(minutes=10))}
    assert found([*burst(3), *others, end(NOON + 9 * MINUTE, "ml/3")], tunings=four) == [], "the oldest is forgotten"


@pytest.mark.attack
def test_a_first_time_destruction_of_a_restricted_secret_raises_an_alert() -> None:
    ends = [end(), end(NOON + DAY), end(NOON + 31 * DAY + MINUTE, "ml/other"), end(NOON + 31 * DAY + MINUTE, who="b")]
    assert found(ends, restricted=True) == [
        (ends[0].at, "first-destroyed", 0.8),
        (ends[2].at, "first-destroyed", 0.8),
        (ends[3].at, "first-destroyed", 0.8),
    ]
    assert found(ends) == []
    assert found([end(action=DELETE)], restricted=True) == [], "that can be taken back"
    tried = [end(denied=True), end(NOON + MINUTE, denied=True)]
    assert [odd[1:] for odd in found(tried, restricted=True)] == [("first-destroyed", 0.8)] * 2


def test_who_was_just_allowed_to_destroy_it_is_let_be_and_who_has_allowed_oneself_is_not() -> None:
    login = end(NOON - 5 * DAY, "auth/approle/login", action=LOGIN, login="a", granted="app,cleaner")
    allowed = end(login="a", granted="cleaner")

    def changed(who: str) -> Access:
        return end(NOON - DAY, "policies/cleaner", who, action=CHANGE)

    assert found([login, changed("userpass-eva"), allowed], restricted=True) == []
    assert len(found([login, changed(allowed.principal), allowed], restricted=True)) == 1
    assert len(found([login, allowed], restricted=True)) == 1


@pytest.mark.attack
def test_keyturns_own_logins_are_exempt_in_the_hub_alone() -> None:
    policy: dict[str, Any] = {"own": True, "restricted": True}
    assert found(burst(20), **policy) == []
    assert [odd[1:] for odd in found(burst(10, system="aws"), **policy)] == [
        ("first-destroyed", 0.8),
        ("mass-deletion", 1.0),
    ]


def test_decoys_the_root_policy_and_networks_are_looked_at_in_ends_too() -> None:
    assert [odd[1:] for odd in found([end(root=True)])] == [("root-token", 0.8)]
    assert [odd[1:] for odd in found([end(denied=True)], decoy=True)] == [("decoy", 1.0)]
    inside = DeclaredPolicies({"a": MonitorSettings.model_validate({"addresses": ["10.1.0.0/16"]})}, Catalogue())
    assert [odd[1:] for odd in events(Detector(inside), [end()])] == [("address-range", 0.8)]


def test_an_end_is_no_read_and_makes_nothing_known() -> None:
    reads = [end(NOON - MINUTE, action=READ), end(NOON + MINUTE, "ml/key", source="10.9.0.1", action=READ)]
    scores: dict[str, Any] = {"alert": 699}
    assert [odd[1:] for odd in found(reads, **scores)] == [("new-address new-path", 0.7)]
    between = end(NOON, "ml/key", source="10.9.0.1", action=DELETE)
    assert found([reads[0], between, reads[1]], **scores) == found(reads, **scores)


def test_what_is_destroyed_on_a_real_hub_and_by_whom(hub: Hub) -> None:
    rule = 'path "secret/destroy/bulk/*" { capabilities = ["update"] }'
    hub.root.sys.create_or_update_policy("destroyer", rule)
    for role in ("destroyer", "keyturn-revoker"):
        hub.root.auth.approle.create_or_update_approle(role, token_policies=["destroyer"])
    for number in range(10):
        hub.root.secrets.kv.v2.create_or_update_secret(f"bulk/{number}", {"password": "x"})

    def destroy(client: hvac.Client) -> list[Access]:
        clients = client.secrets.kv.v2
        work = [lambda number=number: clients.destroy_secret_versions(f"bulk/{number}", [1]) for number in range(10)]
        return hub.during(lambda: [each() for each in work], logins=True)

    own, others = destroy(hub.approle("keyturn-revoker")), destroy(hub.approle("destroyer"))
    policies: MonitorPolicies = DeclaredPolicies({}, Catalogue(), own=[OWN])
    assert [each.principal for each in own] == [OWN] * 10
    assert events(Detector(policies), own) == []
    assert [odd[1:] for odd in events(Detector(policies), others)] == [("mass-deletion", 1.0)]
