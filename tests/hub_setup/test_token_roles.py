"""The roles of tokens that outlive a login: short lives, known addresses, one policy; what differs is reported."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.issued_tokens import LONGEST_TOKEN
from keyturn.core.rights.hub_setup import HubResource, Kind, SetupVerdict
from keyturn.doctor.results import Grade
from keyturn.doctor.token_roles import check_role, check_roles
from keyturn.rights.hub_wanted import SPARE, HubDeclaration, lease_life, token_roles
from keyturn.rights.policy_documents import Origin
from keyturn.rights.scope import EVERYTHING
from keyturn.settings.hub import HubSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from tests.hub_setup.site import ENTRY, WORKER, Empty, applied, planned, verdicts
from tests.support.hooks import Replaced

LEASE, GRANT = "keyturn-lease", "keyturn-grant"
REVOKER = {"keyturn-revoker": {"kind": "approle", "login": "revoker", "addresses": ["10.1.2.0/24"]}}
STATE = HubResource(Kind.MOUNT, "keyturn", {"type": "kv", "version": "2"})
CLUSTER = {"pods": {"kind": "kubernetes-role", "method": "k", "service_accounts": ["keyturn"], "namespaces": ["ops"]}}


def roles(entries: dict[str, Any], **places: Any) -> dict[str, HubResource]:
    """Both roles, as they are declared."""
    scope = replace(EVERYTHING, places=replace(EVERYTHING.places, **places))
    made = {name: ENTRY.validate_python(entry) for name, entry in entries.items()}
    return {role.name: role for role in token_roles(HubDeclaration(scope, Origin(), made, {}))}


def test_addresses_are_the_operators_else_those_of_the_logins_else_unknown() -> None:
    known = roles({**WORKER, **REVOKER})
    assert known[LEASE].fields["token_bound_cidrs"] == ["10.1.2.0/24", "127.0.0.0/8"]
    assert "token_bound_cidrs" not in known[GRANT].fields
    anywhere = {"pods": {**CLUSTER["pods"], "login": "worker"}}
    assert "token_bound_cidrs" not in roles({**WORKER, **anywhere})[LEASE].fields
    people = {"staff": {"kind": "group", "method": "people", "logins": ["worker"]}}
    assert "token_bound_cidrs" not in roles({**WORKER, **people})[LEASE].fields
    said = roles({**WORKER, **anywhere}, token_addresses=("192.0.2.0/24",))
    assert {role.fields["token_bound_cidrs"][0] for role in said.values()} == {"192.0.2.0/24"}


def test_addresses_that_are_none_are_refused_with_the_variable() -> None:
    environment = {"VAULT_ADDR": "https://hub.example.com", "KEYTURN_HUB_TOKEN_ADDRESSES": "10.1.2.0/24, 192.0.2.7"}
    assert HubSettings.from_environment(environment).token_addresses == ("10.1.2.0/24", "192.0.2.7")
    with pytest.raises(Invalid, match=r"KEYTURN_HUB_TOKEN_ADDRESSES.*'here' is no network"):
        HubSettings.from_environment({**environment, "KEYTURN_HUB_TOKEN_ADDRESSES": "here"})


def test_a_token_lives_as_long_as_the_longest_lease_has_to_serve() -> None:
    def rotated(**timing: str) -> VaultDynamicSettings:
        common = {"strategy": "vault-dynamic", "target": "pg", "role": "reports"}
        return VaultDynamicSettings.model_validate({**common, **timing})

    short, long = rotated(interval="5d", grace="1h"), rotated(interval="40d", grace="2d")
    assert lease_life([short]) >= timedelta(days=5, hours=1) + SPARE
    assert lease_life([short]) < timedelta(days=10)
    assert lease_life([short, long]) >= timedelta(days=42) + SPARE
    assert lease_life([]) == LONGEST_TOKEN


@pytest.fixture
def made(empty: Empty) -> tuple[Empty, list[HubResource]]:
    """A hub with both roles."""
    wanted = list(roles(WORKER, token_addresses=("127.0.0.0/8",)).values())
    applied(empty.port, [STATE, *wanted])
    return empty, wanted


def test_both_are_made_and_what_somebody_changes_there_is_reported_and_set_back(
    made: tuple[Empty, list[HubResource]],
) -> None:
    empty, wanted = made
    for role in (LEASE, GRANT):
        fields = empty.read(f"auth/token/roles/{role}")
        assert (fields["token_no_default_policy"], fields["orphan"]) == (True, True)
        assert fields["token_bound_cidrs"] == ["127.0.0.0/8"]
        assert 0 < fields["token_explicit_max_ttl"] <= LONGEST_TOKEN.total_seconds()
    assert {result.grade for result in check_roles(empty.hub, wanted)} == {Grade.WELL}
    weaker = {"token_explicit_max_ttl": 0, "token_bound_cidrs": [], "token_no_default_policy": False}
    empty.root.write_data(f"auth/token/roles/{LEASE}", data={"allowed_policies": [LEASE], "orphan": True, **weaker})
    (found, *_) = check_roles(empty.hub, wanted)
    assert found.grade is Grade.FAILED
    assert all(field in found.words for field in weaker)
    assert verdicts(planned(empty.port, (STATE, *wanted))) == {f"{Kind.TOKEN_ROLE}:{LEASE}": SetupVerdict.DRIFT}
    applied(empty.port, wanted)
    assert {result.grade for result in check_roles(empty.hub, wanted)} == {Grade.WELL}


def test_without_known_addresses_what_was_set_by_hand_stays_and_none_is_remarked_on(empty: Empty) -> None:
    wanted = list(roles({}).values())
    applied(empty.port, [STATE, *wanted])
    assert [result.grade for result in check_roles(empty.hub, wanted)] == [Grade.ADVICE, Grade.WELL] * 2
    empty.root.write_data(f"auth/token/roles/{LEASE}", data={**wanted[0].fields, "token_bound_cidrs": ["10.0.0.0/8"]})
    assert applied(empty.port, wanted).of(SetupVerdict.DRIFT, SetupVerdict.CHANGE) == ()
    assert empty.read(f"auth/token/roles/{LEASE}")["token_bound_cidrs"] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("changes", "grade"),
    [
        ({"token_explicit_max_ttl": 3600}, Grade.FAILED),
        ({"token_explicit_max_ttl": 800_000}, Grade.ADVICE),
        ({"token_explicit_max_ttl": 33 * 86_400}, Grade.FAILED),
        ({"token_bound_cidrs": ["10.0.0.0/8"]}, Grade.ADVICE),
        ({"token_bound_cidrs": []}, Grade.FAILED),
        ({"allowed_policies": ["root"]}, Grade.FAILED),
    ],
)
def test_a_role_that_was_made_by_hand_with_other_limits_is_advice_and_one_without_fails(
    made: tuple[Empty, list[HubResource]], changes: dict[str, Any], grade: Grade
) -> None:
    empty, (_, wanted) = made
    empty.root.write_data(f"auth/token/roles/{GRANT}", data={**wanted.fields, **changes})
    assert check_role(empty.hub, wanted).grade is grade


def test_a_role_that_is_gone_and_one_that_nobody_may_look_at_are_told_apart(
    made: tuple[Empty, list[HubResource]],
) -> None:
    empty, wanted = made
    empty.root.delete(f"auth/token/roles/{LEASE}")
    (gone, *_) = check_roles(empty.hub, wanted)
    assert (gone.grade, gone.words) == (Grade.FAILED, "the hub has no such role")
    poor = empty.as_token(empty.token("default"))
    assert {result.grade for result in check_roles(poor, wanted)} == {Grade.UNKNOWN}


def test_a_token_that_nothing_records_is_reported_by_its_lease(made: tuple[Empty, list[HubResource]]) -> None:
    empty, wanted = made
    empty.root.sys.create_or_update_policy(LEASE, 'path "any" { capabilities = ["read"] }')
    empty.root.auth.token.create(role_name=LEASE)
    later: Any = Replaced(empty.hub, now=lambda: empty.hub.now() + timedelta(minutes=5))
    (found,) = [result for result in check_roles(later, wanted) if result.grade is Grade.FAILED]
    assert f"1 that Keyturn has not recorded: auth/token/create/{LEASE}/h" in found.words
    assert "docs/stolen-access.md" in found.remedy
