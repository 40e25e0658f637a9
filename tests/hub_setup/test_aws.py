"""Vault's AWS engine and AWS auth method, which OpenBao lacks: recorded answers, as its documented API gives them.

Source: "AWS secrets engine (API)" and "AWS auth method (API)" in the documentation of Vault.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.rights.hub_setup import Difference, HubResource, Kind, SetupVerdict
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights.hub_apply import apply_setup
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import SetupRecord
from tests.hub_setup.recorded import TOKENS, Recorded, WithoutState, recorded_hub
from tests.hub_setup.site import wanted

ARN = "arn:aws:iam::123456789012:role/deploy"
ENTRIES: dict[str, dict[str, Any]] = {
    "deploy": {"kind": "aws-role", "credential_type": "assumed_role", "role_arns": [ARN], "ttl": "15m"},
    "aws-iam": {"kind": "aws-login"},
    "trainer": {"kind": "aws-login-role", "method": "aws-iam", "principals": [ARN], "login": "monitor"},
}
RECORDED: dict[str, dict[str, Any]] = {
    "aws/roles/deploy": {
        "credential_types": ["assumed_role"],
        "default_sts_ttl": 900,
        "iam_groups": None,
        "max_sts_ttl": 0,
        "permissions_boundary_arn": "",
        "policy_arns": None,
        "policy_document": "",
        "role_arns": [ARN],
        "user_path": "",
    },
    "auth/aws-iam/role/trainer": {
        **TOKENS,
        "token_policies": ["keyturn-monitor"],
        "auth_type": "iam",
        "bound_account_id": [],
        "bound_iam_principal_arn": [ARN],
        "bound_iam_principal_id": ["AROAEXAMPLE"],
        "inferred_entity_type": "",
        "resolve_aws_unique_ids": True,
    },
}


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[tuple[Recorded, VaultHub]]:
    """The answers, and a hub that gives them."""
    answers = Recorded(dict(RECORDED))
    with recorded_hub(answers, tmp_path) as hub:
        yield answers, hub


def of_aws(*kinds: Kind) -> tuple[HubResource, ...]:
    return tuple(resource for resource in wanted(ENTRIES) if resource.kind in kinds)


def test_roles_are_made_as_vault_documents_them_and_are_in_place_then(recorded: tuple[Recorded, VaultHub]) -> None:
    answers, hub = recorded
    port, roles = WithoutState(hub), of_aws(Kind.AWS_ROLE, Kind.AWS_LOGIN_ROLE)
    record = apply_setup(port, "keyturn", plan_setup(port, roles, SetupRecord()), SetupRecord())

    assert answers.made["aws/roles/deploy"]["credential_type"] == "assumed_role"
    assert answers.made["aws/roles/deploy"]["role_arns"] == [ARN]
    login = answers.made["auth/aws-iam/role/trainer"]
    assert (login["auth_type"], login["bound_iam_principal_arn"]) == ("iam", [ARN])
    assert not plan_setup(port, roles, record).differs

    answers.answers["auth/aws-iam/role/trainer"] |= {"bound_iam_principal_arn": ["arn:aws:iam::*:*"]}
    (item,) = plan_setup(port, roles, record).of(SetupVerdict.DRIFT)
    assert item.differences == (Difference("bound_iam_principal_arn", ["arn:aws:iam::*:*"], [ARN]),)


def test_the_engine_and_the_method_are_mounted_where_a_role_needs_them() -> None:
    mounts = {resource.key: resource.fields["type"] for resource in of_aws(Kind.MOUNT, Kind.AUTH_METHOD)}
    assert mounts["mount:aws"] == mounts["auth-method:aws-iam"] == "aws"
