"""Security settings of each store; what the login can't see is reported as unknown."""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.core.rights.posture import FULL, Posture, Safety, count_against
from keyturn.core.rights.rights import CopyRights
from keyturn.providers.aws.parameter_store import AwsParameterStore
from keyturn.providers.aws.posture import lets_anybody
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from keyturn.providers.azure.posture import deletion_posture, vault_posture
from keyturn.providers.gcp.store import GcpSecretManager
from local.emulators.aws import LocalAws
from local.emulators.azure_management import AzureManagement, Caller
from local.emulators.azure_management.vaults import READ
from local.support.ports import free_port
from tests.contracts.store import fresh_value, put
from tests.deployments.emulators.test_gcp_secret_manager import connected, running
from tests.support import local_aws

REGION = "eu-central-1"
PUBLIC = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}


def safeties(postures: Iterable[Posture]) -> dict[str, Safety]:
    return {posture.what: posture.safety for posture in postures}


def words(postures: Iterable[Posture], what: str) -> str:
    return next(posture.words for posture in postures if posture.what == what)


@pytest.mark.attack
def test_secrets_manager_reports_outdated_replicas_and_public_policies(aws: LocalAws) -> None:
    remote = f"posture-{secrets.token_hex(4)}"
    with (
        closing(boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url)) as raw,
        closing(AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url, replicas=("eu-west-1",))) as one,
    ):
        put(one, remote, fresh_value(), 1)
        assert set(safeties(one.posture([remote])).values()) == {Safety.SOUND}
        raw.put_resource_policy(SecretId=remote, ResourcePolicy=json.dumps(PUBLIC))
        raw.remove_regions_from_replication(SecretId=remote, RemoveReplicaRegions=["eu-west-1"])
        found = list(one.posture([remote, f"{remote}-absent"]))
        assert safeties(found) == {
            "secrets of the region": Safety.SOUND,
            "replication": Safety.BROKEN,
            "resource policies": Safety.BROKEN,
        }
        assert words(found, "replication") == f"not in sync: {remote} in eu-west-1 (no replica)"


@pytest.mark.attack
def test_what_an_older_policy_hides_is_unknown_and_the_missing_right_is_named(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = f"posture-{secrets.token_hex(4)}"
    settings = AwsSecretsManagerSettings(kind="aws-secrets-manager", region=REGION)
    copies = CopyRights("store-aws", "tests", (remote,), (), deletes=True, tags=True, describes=True)
    with closing(AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url)) as one:
        put(one, remote, fresh_value(), 1)
    daily = [document.text for document in settings.rights(copies)][:1]
    local_aws.become(aws, daily, monkeypatch)
    with closing(AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url)) as allowed:
        assert safeties(list(allowed.posture([remote])))["resource policies"] is Safety.SOUND
    before = [text.replace('"secretsmanager:GetResourcePolicy",', "") for text in daily]
    assert before != daily
    local_aws.become(aws, before, monkeypatch)
    with closing(AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url)) as limited:
        found = list(limited.posture([remote]))
    assert safeties(found)["resource policies"] is Safety.UNSEEN
    assert words(found, "resource policies") == "could not look: needs secretsmanager:GetResourcePolicy"


@pytest.mark.parametrize(
    ("principal", "condition", "anybody"),
    [
        ("*", None, True),
        ({"AWS": ["arn:aws:iam::1:root", "*"]}, None, True),
        ("*", {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, False),
        ({"AWS": "arn:aws:iam::1:root"}, None, False),
        ({"Service": "rds.amazonaws.com"}, None, False),
    ],
)
def test_a_policy_lets_anybody_in_that_names_every_principal_under_no_condition(
    principal: Any, condition: Any, anybody: bool
) -> None:
    statement = {"Effect": "Allow", "Principal": principal, **({"Condition": condition} if condition else {})}
    assert lets_anybody(json.dumps({"Statement": [statement]})) is anybody
    assert lets_anybody("no JSON") is True


def test_parameter_store_tells_what_is_not_encrypted_and_how_full_the_region_is(aws: LocalAws) -> None:
    remote, plain = (f"/posture/{secrets.token_hex(4)}" for _ in range(2))
    with (
        closing(boto3.Session().client("ssm", region_name=REGION, endpoint_url=aws.endpoint_url)) as raw,
        closing(AwsParameterStore("ssm", region=REGION, endpoint_url=aws.endpoint_url)) as one,
    ):
        put(one, remote, fresh_value(), 1)
        raw.put_parameter(Name=plain, Value="x", Type="String")
        sound, found = safeties(one.posture([remote])), list(one.posture([remote, plain]))
    # Of advanced ones it tells where another test has left one there.
    assert sound.keys() - {"Advanced parameters of the region"} == {"encryption", "Standard parameters of the region"}
    assert set(sound.values()) == {Safety.SOUND}
    assert words(found, "encryption") == f"not encrypted: {plain}"
    assert " of 10,000 (AWS's published quota" in words(found, "Standard parameters of the region")


def test_a_place_that_is_nearly_full_is_told_and_one_that_is_full_hinders() -> None:
    told = [count_against("secrets", count, 1_000, "published").safety for count in (799, 800, int(1_000 * FULL))]
    assert told == [Safety.SOUND, Safety.WEAK, Safety.BROKEN]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureManagement]:
    callers = (Caller("keyturn-vault", secrets.token_urlsafe(20), frozenset({READ})),)
    with AzureManagement(tmp_path_factory.mktemp("azure"), callers=callers) as services:
        yield services


def test_a_vault_tells_its_networks_and_roles_to_whoever_may_read_it(
    azure: AzureManagement, monkeypatch: pytest.MonkeyPatch
) -> None:
    vaults = azure.emulator.vaults
    vault_id = vaults.id_of("rg", "kv")

    def posture(client: str, resource_id: str | None = vault_id) -> list[Posture]:
        for name, value in azure.environment(client).items():
            monkeypatch.setenv(name, value)
        return list(vault_posture("azure", resource_id, azure.url, azure.url, azure.ca_file, None))

    vaults.properties["rg", "kv"] = {"enableRbacAuthorization": False}
    assert set(safeties(posture("keyturn-vault")).values()) == {Safety.WEAK}
    vaults.properties["rg", "kv"] = {"enableRbacAuthorization": True, "networkAcls": {"defaultAction": "Deny"}}
    assert set(safeties(posture("keyturn-vault")).values()) == {Safety.SOUND}
    denied = posture("keyturn")
    assert {one.words for one in denied} == {f"could not look: needs {READ}"}
    assert {one.safety for one in (*denied, *posture("keyturn", None))} == {Safety.UNSEEN}


def test_a_vaults_secrets_tell_of_deletion() -> None:
    def of(level: str) -> list[Safety]:
        return list(safeties(deletion_posture([{"attributes": {"recoveryLevel": level}}])).values())

    assert of("Recoverable") == of("CustomizedRecoverable") == [Safety.SOUND, Safety.SOUND]
    assert of("Recoverable+Purgeable") == [Safety.SOUND, Safety.WEAK]
    assert of("Purgeable") == [Safety.WEAK, Safety.WEAK]
    assert safeties(deletion_posture([])) == {"purge protection": Safety.UNSEEN}


@pytest.fixture(scope="module")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, SecretManagerServiceClient]]:
    port = free_port()
    with running(port, tmp_path_factory.mktemp("gcp")), connected(port) as client:
        yield port, client


def test_secret_manager_tells_copies_in_one_location_and_those_that_let_anybody_in(
    gcp: tuple[int, SecretManagerServiceClient],
) -> None:
    port, client = gcp
    with (
        closing(GcpSecretManager("gcp", project="postures", endpoint=f"127.0.0.1:{port}")) as one,
        closing(
            GcpSecretManager("gcp", project="postures", endpoint=f"127.0.0.1:{port}", replication=("europe-west3",))
        ) as single,
    ):
        put(one, "everywhere", fresh_value(), 1)
        assert set(safeties(one.posture(["everywhere"])).values()) == {Safety.SOUND}
        put(single, "in-one-place", fresh_value(), 1)
        policy = {"bindings": [{"role": "roles/secretmanager.secretAccessor", "members": ["allUsers"]}]}
        client.set_iam_policy({"resource": "projects/postures/secrets/everywhere", "policy": policy})
        found = list(one.posture(["everywhere", "in-one-place"]))
    assert words(found, "replication") == "in one location alone: in-one-place"
    assert words(found, "access by anyone") == "open to anyone: everywhere"
    assert safeties(found) == {"replication": Safety.WEAK, "access by anyone": Safety.BROKEN}
