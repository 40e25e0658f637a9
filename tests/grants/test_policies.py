"""What policies of access come to, and why: a decision is pure, and what could not be checked allows nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.choice import About
from keyturn.core.ports.grants import LoginFacts
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.grants.policies import NO_POLICY, PolicyIndex

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
"""A Friday."""
LOGIN = LoginFacts("auth/oidc/oidc/callback", "e-ana", NOON, ("10.1.2.0/24",), {"device": "managed"})
REQUEST = AccessFacts(
    Subject("e-ana", frozenset({"g-ml"})),
    "ml/database",
    About("ml@example.com", "confidential"),
    timedelta(hours=1),
    NOON,
    LOGIN,
    incident=False,
    alert="",
)
POLICY: dict[str, Any] = {
    "paths": ["ml/*"],
    "subjects": {"groups": ["g-ml"]},
    "credential": "database/creds/ml",
    "approvers": ["bea", "cleo"],
}


def index(**policies: dict[str, Any]) -> PolicyIndex:
    return PolicyIndex({name: AccessPolicySettings.model_validate(policy) for name, policy in policies.items()})


def having(**conditions: Any) -> PolicyIndex:
    return index(ml={**POLICY, "conditions": conditions})


def test_a_policy_about_a_group_allows_its_members() -> None:
    decision = index(ml=POLICY).decide(REQUEST)
    assert decision.allowed
    assert decision.by is not None
    assert (decision.by.name, decision.by.policy.approvals, decision.reasons) == ("ml", 1, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": Subject("e-ana")},
        {"path": "shop/database"},
        {"subject": Subject("g-ml")},
    ],
)
def test_nothing_is_allowed_that_no_policy_is_about(changes: dict[str, Any]) -> None:
    decision = index(ml=POLICY).decide(replace(REQUEST, **changes))
    assert not decision.allowed
    assert decision.reasons == (NO_POLICY,)


def test_a_denial_goes_before_whatever_allows() -> None:
    decision = index(ml=POLICY, freeze={"paths": ["ml/**"], "effect": "deny"}).decide(REQUEST)
    assert not decision.allowed
    assert decision.reasons == ("the policy freeze denies it",)


def test_a_denial_that_could_not_be_looked_at_denies() -> None:
    incidents = index(ml=POLICY, held={"paths": ["ml/**"], "effect": "deny", "conditions": {"incident": "open"}})
    assert incidents.decide(REQUEST).allowed
    assert not incidents.decide(replace(REQUEST, incident=True)).allowed
    assert not incidents.decide(replace(REQUEST, incident=None)).allowed


@pytest.mark.parametrize(
    ("conditions", "worse", "why"),
    [
        ({"hours": {"from": "08:00", "to": "18:00"}}, {"now": NOON.replace(hour=18)}, "not between 08:00 and 18:00"),
        ({"weekends": False}, {"now": NOON + timedelta(days=1)}, "no working day"),
        ({"networks": ["10.1.0.0/16"]}, {"login": replace(LOGIN, networks=("10.0.0.0/8",))}, "not within 10.1.0.0/16"),
        ({"networks": ["10.1.0.0/16"]}, {"login": replace(LOGIN, networks=())}, "binds the login to no addresses"),
        ({"networks": ["10.1.0.0/16"]}, {"login": replace(LOGIN, networks=("::/0",))}, "may come from ::/0"),
        ({"logins": ["oidc"]}, {"login": replace(LOGIN, path="auth/token/create")}, "made at auth/token/create"),
        ({"logins": ["oidc"]}, {"login": replace(LOGIN, path="auth/oidc-weak/x")}, "not at oidc"),
        ({"login_within": "15m"}, {"now": NOON + timedelta(minutes=16)}, "older than 15m"),
        ({"login_within": "15m"}, {"login": replace(LOGIN, made_at=None)}, "does not say when"),
        ({"metadata": {"device": "managed"}}, {"login": replace(LOGIN, metadata={})}, "does not say device: managed"),
        ({"metadata": {"device": "managed"}}, {"login": None}, "could not be asked about the login"),
        ({"alerts": "none"}, {"alert": "7f3a, a decoy"}, "an alert is about the requester: 7f3a, a decoy"),
        ({"alerts": "none"}, {"alert": None}, "could not check whether an alert is about the requester"),
        ({"incident": "none"}, {"incident": True}, "an incident holds the secret"),
        ({"incident": "none"}, {"incident": None}, "could not be looked at"),
    ],
)
def test_a_condition_that_does_not_hold_or_is_unknown_refuses_and_says_so(
    conditions: dict[str, Any], worse: dict[str, Any], why: str
) -> None:
    policies = having(**conditions)
    assert policies.decide(REQUEST).allowed
    (reason,) = policies.decide(replace(REQUEST, **worse)).reasons
    assert why in reason


def test_access_is_never_given_for_longer_than_the_policy_says_nor_to_what_nobody_declares() -> None:
    policies = index(ml=POLICY)
    assert "2h is longer than 1h" in policies.decide(replace(REQUEST, duration=timedelta(hours=2))).reasons[0]
    assert "does not declare" in policies.decide(replace(REQUEST, about=None)).reasons[0]


def test_of_several_the_one_with_the_fewest_approvals_counts_unless_one_is_named() -> None:
    policies = index(two={**POLICY, "approvals": 2}, one=POLICY)
    decision, named = policies.decide(REQUEST), policies.decide(REQUEST, "two")
    assert decision.by is not None
    assert named.by is not None
    assert (decision.by.name, named.by.name) == ("one", "two")


@pytest.mark.parametrize(
    "changes",
    [
        {"approvals": 0},
        {"approvals": 0, "approvers": []},
        {"approvals": 0, "approvers": [], "classifications": ["internal", "restricted"]},
        {"approvals": 3},
        {"maximum": "13h"},
        {"subjects": None},
        {"subjects": {}},
        {"credential": None},
        {"effect": "deny"},
        {"conditions": {"networks": ["10.1.0.1/16"]}},
    ],
)
def test_a_policy_that_would_give_too_much_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AccessPolicySettings.model_validate({**POLICY, **changes})


def test_low_classes_may_be_given_without_approval() -> None:
    low = {**POLICY, "approvals": 0, "approvers": [], "classifications": ["internal"]}
    assert index(low=low).decide(replace(REQUEST, about=About("a@example.com", "internal"))).allowed
    assert not index(low=low).decide(REQUEST).allowed


def test_the_digest_is_another_once_anything_is_changed() -> None:
    first = AccessPolicySettings.model_validate(POLICY)
    assert first.digest == AccessPolicySettings.model_validate(POLICY).digest
    for changes in ({"approvals": 2}, {"maximum": "30m"}, {"subjects": {"groups": ["g-all"]}}, {"paths": ["**"]}):
        assert AccessPolicySettings.model_validate({**POLICY, **changes}).digest != first.digest
