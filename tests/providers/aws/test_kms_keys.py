"""Managed AWS KMS keys: created once as declared, with each state recognised."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from keyturn.catalogue.keys.aws import AwsKmsKeySettings
from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable, UnsupportedOperation
from keyturn.core.ports.hub import KeyOpening
from keyturn.core.ports.managed_keys import KeyCondition
from keyturn.core.rights.kms_policies import same_policy
from keyturn.keys.key_deletion import END, KEEP, end_key, keep_key
from keyturn.ledger.entries import parse_leaf
from keyturn.providers.aws.data_keys import KmsDataKeys
from keyturn.providers.aws.kms_keys import KmsKey
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws
from tests.support.lab import Lab, fresh

pytestmark = pytest.mark.sampled(10, of="file")

REGION = "eu-central-1"
TRAINER = "arn:aws:iam::123456789012:role/trainer"


@pytest.fixture
def kms(aws: LocalAws) -> Any:
    return boto3.client(  # type: ignore[call-overload, unused-ignore]
        "kms", region_name=REGION, endpoint_url=aws.endpoint_url, **local_aws.key_of(aws)
    )


@pytest.fixture
def arn(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def opened(aws: LocalAws, arn: str, **settings: Any) -> KmsKey:
    """As the registry opens it, from what a catalogue says."""
    declared = AwsKmsKeySettings.model_validate(
        {"kind": "aws-kms", "key": arn, "endpoint_url": aws.endpoint_url, **settings}
    )
    arguments = {key: value for key, value in declared if key not in declared.OWN}
    return KmsKey(KeyOpening("ours", VaultHub(HubSettings("https://127.0.0.1:9"))), **arguments)


def test_a_rotation_on_demand_is_another_generation(aws: LocalAws, arn: str) -> None:
    key = opened(aws, arn)
    first = key.describe()
    assert (first.generation, first.hsm, first.condition) == ("1", True, KeyCondition.ENABLED)
    key.rotate()
    second = key.describe()
    assert second.generation == "2"
    assert second.made_at
    assert first.made_at
    assert second.made_at >= first.made_at


def test_what_is_declared_comes_to_be_and_a_second_time_changes_nothing(aws: LocalAws, kms: Any, arn: str) -> None:
    alias = f"alias/{arn[-12:]}"
    foreign = kms.create_grant(KeyId=arn, GranteePrincipal=TRAINER, Operations=["Decrypt"], Name="theirs")["GrantId"]
    old = kms.create_grant(KeyId=arn, GranteePrincipal=TRAINER, Operations=["Encrypt"], Name="keyturn-old")["GrantId"]
    user = {"principals": [TRAINER], "via": ["secretsmanager"], "context": {"purpose": "weights"}}
    grant = {"name": "trainer", "principal": TRAINER, "operations": ["Decrypt"], "context": {"purpose": "weights"}}
    key = opened(aws, arn, automatic="365d", aliases=[alias], policy={"users": [user]}, grants=[grant])
    assert len(key.differences()) == 5
    assert len(key.settle()) == 5
    assert (key.differences(), key.settle()) == ([], [])

    assert kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"]
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == arn
    policy = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    used = next(statement for statement in policy["Statement"] if statement["Sid"] == "Use1")
    assert used["Principal"] == {"AWS": [TRAINER]}
    assert used["Condition"]["StringEquals"] == {
        "kms:ViaService": ["secretsmanager.eu-central-1.amazonaws.com"],
        "kms:EncryptionContext:purpose": ["weights"],
    }
    administer = next(statement for statement in policy["Statement"] if statement["Sid"] == "Administer")
    assert not {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"} & set(administer["Action"])
    grants = {grant["GrantId"]: grant for grant in kms.list_grants(KeyId=arn)["Grants"]}
    assert foreign in grants
    assert old not in grants
    assert {grant.get("Name") for grant in grants.values()} == {"theirs", "keyturn-trainer"}


def test_an_alias_of_another_key_is_not_moved(aws: LocalAws, kms: Any, arn: str) -> None:
    other, alias = kms.create_key()["KeyMetadata"]["Arn"], f"alias/{arn[-12:]}"
    kms.create_alias(AliasName=alias, TargetKeyId=other)
    with pytest.raises(Conflict, match="AlreadyExists"):
        opened(aws, arn, aliases=[alias]).settle()
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == other


def test_each_state_of_a_key_is_told_apart(aws: LocalAws, kms: Any, arn: str) -> None:
    key = opened(aws, arn)
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    assert key.describe().condition is KeyCondition.DISABLED
    kms.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)
    ending = key.describe()
    assert ending.condition is KeyCondition.ENDING
    assert ending.ends_at
    with pytest.raises(NotFound):
        opened(aws, f"{arn[:-1]}{'0' if arn[-1] != '0' else '1'}").describe()
    with pytest.raises(Unavailable):
        opened(aws, arn, endpoint_url=f"http://127.0.0.1:{free_port()}").describe()


def test_a_key_is_to_be_deleted_once_and_is_used_again_where_that_is_taken_back(
    aws: LocalAws, kms: Any, arn: str, lab: Lab
) -> None:
    key = opened(aws, arn)
    workspace = replace(lab.open(lab.generated()).workspace, open_key=lambda name: key)
    before = len(actions(workspace))
    with pytest.raises(Invalid, match="7 to 30 whole days"):
        end_key(workspace, "ours", timedelta(days=6))
    at = end_key(workspace, "ours", timedelta(days=9))
    assert key.describe().ends_at == at == end_key(workspace, "ours", timedelta(days=30))
    assert keep_key(workspace, "ours")
    assert (key.describe().condition, keep_key(workspace, "ours")) == (KeyCondition.ENABLED, False)
    assert actions(workspace)[before:] == [
        (END, "begun"), (END, "failed"), (END, "begun"), (END, "done"), (KEEP, "begun"), (KEEP, "done"),
    ]  # fmt: skip

    kms.disable_key(KeyId=arn.rpartition("/")[2])
    with pytest.raises(Invalid, match="disabled, and not to be deleted"):
        keep_key(workspace, "ours")
    with pytest.raises(UnsupportedOperation):
        end_key(replace(workspace, open_key=lambda name: lab.hub.transit_key(name)), fresh(), timedelta(days=9))


def actions(workspace: Workspace) -> list[tuple[str, str]]:
    """What the ledger records about ends of keys."""
    ledger: Any = workspace.ledger
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    return [(entry.action, str(entry.outcome)) for entry in entries if entry.action in (END, KEEP)]


@pytest.mark.attack
def test_no_rendered_right_ends_a_key(aws: LocalAws, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (document,) = AwsKmsKeySettings.model_validate({"kind": "aws-kms", "key": arn}).rights("key", "a test")
    local_aws.become(aws, [document.text], monkeypatch)
    with pytest.raises(Denied):
        opened(aws, arn).schedule_end(timedelta(days=30))
    with pytest.raises(Denied):
        opened(aws, arn).cancel_end()


def test_who_may_not_look_is_told_which_right_is_missing(
    aws: LocalAws, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"}
    local_aws.become(aws, [json.dumps({"Version": "2012-10-17", "Statement": [nothing]})], monkeypatch)
    with pytest.raises(Denied, match="Allow kms:DescribeKey on the key"):
        opened(aws, arn).describe()


@pytest.mark.attack
def test_the_rendered_rights_suffice_and_use_no_key(aws: LocalAws, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "automatic": "365d",
        "aliases": [f"alias/{arn[-12:]}"],
        "policy": {"users": [{"principals": [TRAINER], "via": ["ssm"]}]},
        "grants": [{"name": "trainer", "principal": TRAINER, "operations": ["Decrypt"]}],
    }
    (document,) = AwsKmsKeySettings.model_validate({"kind": "aws-kms", "key": arn, **settings}).rights("key", "a test")
    local_aws.become(aws, [document.text], monkeypatch)
    key = opened(aws, arn, **settings)
    assert len(key.settle()) == 4
    key.rotate()
    assert (key.describe().generation, key.differences()) == ("2", [])
    using = KmsDataKeys(arn, region=REGION, endpoint_url=aws.endpoint_url)
    with pytest.raises(Denied):
        using.make({})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, "it is of the kind RSA_2048"),
        ({"Origin": "EXTERNAL"}, "its material was imported"),
    ],
)
def test_a_key_that_kms_can_not_rotate_is_refused(aws: LocalAws, kms: Any, settings: Any, words: str) -> None:
    key = kms.create_key(**settings)["KeyMetadata"]["Arn"]
    with pytest.raises(Invalid, match=words):
        opened(aws, key).describe()


def test_policies_are_compared_by_what_they_say() -> None:
    wanted = {"Statement": [{"Action": ["a"], "Principal": {"AWS": ["x", "y"]}}]}
    assert same_policy('{"Statement": {"Action": "a", "Principal": {"AWS": ["y", "x"]}}}', wanted)
    assert not same_policy('{"Statement": {"Action": "b", "Principal": {"AWS": ["y", "x"]}}}', wanted)
    assert not same_policy("no JSON", wanted)
