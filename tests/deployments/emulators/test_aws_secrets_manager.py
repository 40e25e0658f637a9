"""The local AWS: batches and replicas of Secrets Manager as its API reference documents them."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws

REGION = "eu-central-1"
OTHER_REGION = "eu-west-1"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as patch:
        local_aws.use(server, patch)
        yield server


@pytest.fixture(scope="module")
def secrets_manager(aws: LocalAws) -> Iterator[Any]:
    with closing(client(aws, REGION)) as opened:
        yield opened


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def client(aws: LocalAws, region: str) -> Any:
    return boto3.Session().client("secretsmanager", region_name=region, endpoint_url=aws.endpoint_url)


def code_of(call: Callable[..., Any], **request: Any) -> str:
    """The error code that AWS's documentation gives for this."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_a_batch_tells_of_each_secret_what_hinders_it(secrets_manager: Any, remote: str) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="v")
    secrets_manager.create_secret(Name=f"{remote}-empty")
    secrets_manager.create_secret(Name=f"{remote}-gone", SecretString="v")
    secrets_manager.delete_secret(SecretId=f"{remote}-gone")
    asked = [remote, f"{remote}-empty", f"{remote}-gone", f"{remote}-absent"]
    answer = secrets_manager.batch_get_secret_value(SecretIdList=asked)
    assert [told["SecretString"] for told in answer["SecretValues"]] == ["v"]
    assert {told["SecretId"]: told["ErrorCode"] for told in answer["Errors"]} == {
        f"{remote}-empty": "ResourceNotFoundException",
        f"{remote}-gone": "InvalidRequestException",
        f"{remote}-absent": "ResourceNotFoundException",
    }


def test_a_batch_has_20_secrets_at_most(secrets_manager: Any, remote: str) -> None:
    names = [f"{remote}-{number}" for number in range(21)]
    assert code_of(secrets_manager.batch_get_secret_value, SecretIdList=names) == "ValidationException"
    assert len(secrets_manager.batch_get_secret_value(SecretIdList=names[:20])["Errors"]) == 20


def test_a_secret_is_replicated_to_a_region_once(aws: LocalAws, secrets_manager: Any, remote: str) -> None:
    regions = [{"Region": OTHER_REGION}]
    secrets_manager.create_secret(Name=remote, SecretString="old", AddReplicaRegions=regions)
    request = {"SecretId": remote, "AddReplicaRegions": regions}
    assert code_of(secrets_manager.replicate_secret_to_regions, **request) == "InvalidParameterException"
    secrets_manager.put_secret_value(SecretId=remote, SecretString="new")
    with closing(client(aws, OTHER_REGION)) as there:
        assert there.get_secret_value(SecretId=remote)["SecretString"] == "new"
        assert code_of(there.put_secret_value, SecretId=remote, SecretString="x").startswith("Invalid")


def test_a_replica_whose_name_is_taken_fails_and_is_made_when_it_is_free(
    aws: LocalAws, secrets_manager: Any, remote: str
) -> None:
    regions = [{"Region": OTHER_REGION}]
    with closing(client(aws, OTHER_REGION)) as there:
        there.create_secret(Name=remote, SecretString="theirs")
        secrets_manager.create_secret(Name=remote, SecretString="ours", AddReplicaRegions=regions)
        assert statuses(secrets_manager, remote) == {OTHER_REGION: "Failed"}
        there.delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True)
        secrets_manager.replicate_secret_to_regions(SecretId=remote, AddReplicaRegions=regions)
        assert statuses(secrets_manager, remote) == {OTHER_REGION: "InSync"}
        assert there.get_secret_value(SecretId=remote)["SecretString"] == "ours"


def test_a_secret_with_replicas_is_not_deleted(secrets_manager: Any, remote: str) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="v", AddReplicaRegions=[{"Region": OTHER_REGION}])
    assert code_of(secrets_manager.delete_secret, SecretId=remote) == "InvalidParameterException"
    secrets_manager.remove_regions_from_replication(SecretId=remote, RemoveReplicaRegions=[OTHER_REGION])
    secrets_manager.delete_secret(SecretId=remote)


def statuses(secrets_manager: Any, remote: str) -> dict[str, str]:
    told = secrets_manager.describe_secret(SecretId=remote)["ReplicationStatus"]
    return {replica["Region"]: replica["Status"] for replica in told}


def test_versions_without_a_label_are_told_to_whoever_asks_for_deprecated_ones(
    secrets_manager: Any, remote: str
) -> None:
    ids = [secrets_manager.create_secret(Name=remote, SecretString="1")["VersionId"]]
    ids += [secrets_manager.put_secret_value(SecretId=remote, SecretString=value)["VersionId"] for value in "23"]

    def told(**asked: Any) -> list[str]:
        answer = secrets_manager.list_secret_version_ids(SecretId=remote, **asked)
        return [version["VersionId"] for version in answer["Versions"]]

    assert told() == ids[1:]
    assert told(IncludeDeprecated=True) == ids
    assert told(IncludeDeprecated=True, MaxResults=2) == ids[:2]
    answer = secrets_manager.list_secret_version_ids(SecretId=remote, IncludeDeprecated=True, MaxResults=2)
    assert told(IncludeDeprecated=True, MaxResults=2, NextToken=answer["NextToken"]) == ids[2:]
    secrets_manager.update_secret_version_stage(SecretId=remote, VersionStage="AWSPREVIOUS", RemoveFromVersionId=ids[1])
    assert told() == ids[2:]
    assert secrets_manager.get_secret_value(SecretId=remote, VersionId=ids[1])["SecretString"] == "2"


def test_what_is_not_there_or_scheduled_for_deletion_has_no_stages_to_move(secrets_manager: Any, remote: str) -> None:
    assert code_of(secrets_manager.list_secret_version_ids, SecretId=remote) == "ResourceNotFoundException"
    first = secrets_manager.create_secret(Name=remote, SecretString="1")["VersionId"]
    secrets_manager.put_secret_value(SecretId=remote, SecretString="2")
    secrets_manager.delete_secret(SecretId=remote)
    asked = {"SecretId": remote, "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": first}
    assert code_of(secrets_manager.update_secret_version_stage, **asked) == "InvalidRequestException"
    assert len(secrets_manager.list_secret_version_ids(SecretId=remote)["Versions"]) == 2
