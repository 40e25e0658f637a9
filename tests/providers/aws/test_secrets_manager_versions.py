"""Old versions in AWS Secrets Manager: read, deprecated and erased, in the store's region and in others."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import boto3
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import Denied, Locked
from keyturn.core.sensitive import Sensitive
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from local.emulators.aws import LocalAws
from tests.contracts.store import assert_silent, fresh_value, marks_for, put
from tests.support import local_aws

pytestmark = pytest.mark.sampled(4, of="file")

REGION, OTHER = "eu-central-1", "eu-west-1"
V1, V2 = "1" * 32, "2" * 32

Open = Callable[..., AwsSecretsManager]


@pytest.fixture
def opened(aws: LocalAws) -> Iterator[Open]:
    """Opens stores with settings of the test's own, and closes them."""
    with ExitStack() as stack:
        given = {"region": REGION, "endpoint_url": aws.endpoint_url}
        yield lambda **settings: stack.enter_context(closing(AwsSecretsManager("aws", **{**given, **settings})))


@pytest.fixture
def store(opened: Open) -> AwsSecretsManager:
    return opened()


@pytest.fixture
def raw_in(aws: LocalAws) -> Iterator[Callable[[str], Any]]:
    """SDK clients that know nothing of Keyturn, by region."""
    with ExitStack() as stack:

        def client(region: str) -> Any:
            made = boto3.Session().client("secretsmanager", region_name=region, endpoint_url=aws.endpoint_url)
            return stack.enter_context(closing(made))

        yield client


@pytest.fixture
def raw(raw_in: Callable[[str], Any]) -> Any:
    return raw_in(REGION)


@pytest.fixture
def remote() -> str:
    return f"keyturn-test-{secrets.token_hex(6)}"


def stages(raw: Any, remote: str) -> dict[str, list[str]]:
    told = raw.list_secret_version_ids(SecretId=remote, IncludeDeprecated=True)["Versions"]
    return {version["VersionId"]: version["VersionStages"] for version in told}


def test_every_label_but_the_current_one_is_taken_and_deprecated_versions_are_still_told(
    store: AwsSecretsManager, raw: Any, remote: str
) -> None:
    values = [fresh_value() for _ in range(4)]
    ids = [put(store, remote, value, version).version_id for version, value in enumerate(values, 1)]
    raw.update_secret_version_stage(SecretId=remote, VersionStage="team's own", MoveToVersionId=ids[0])
    pending = fresh_value()
    waiting = raw.put_secret_value(SecretId=remote, SecretString=pending.reveal(), VersionStages=["AWSPENDING"])
    old = dict(zip(ids[:3], values[:3], strict=True)) | {waiting["VersionId"]: pending}
    assert store.old_versions(remote) == old
    assert sorted(store.purge_old_versions(remote)) == sorted(
        f"version {version} can still be read by its id, until AWS deletes it" for version in old
    )
    assert stages(raw, remote) == {ids[3]: ["AWSCURRENT"], **{version: [] for version in old}}
    assert store.old_versions(remote) == old
    assert store.read(remote) == values[3]


def test_more_versions_than_one_answer_holds_are_all_told(store: AwsSecretsManager, raw: Any, remote: str) -> None:
    for number in range(105):
        raw.put_secret_value(SecretId=remote, SecretString=f"value {number}") if number else raw.create_secret(
            Name=remote, SecretString="value 0"
        )
    assert set(store.old_versions(remote).values()) == {Sensitive(f"value {number}") for number in range(104)}


def test_nothing_is_read_of_what_is_scheduled_for_deletion_and_forgetting_names_what_comes_back(
    store: AwsSecretsManager, raw: Any, remote: str
) -> None:
    ids = [put(store, remote, fresh_value(), version).version_id for version in (1, 2)]
    store.delete(remote)
    assert store.old_versions(remote) == {}
    assert store.purge_old_versions(remote) == tuple(
        f"version {version} comes back where the secret is restored" for version in ids
    )
    assert "DeletedDate" in raw.describe_secret(SecretId=remote)


def test_text_that_was_kept_as_binary_data_is_past_too_and_other_binary_data_is_not(
    store: AwsSecretsManager, raw: Any, remote: str
) -> None:
    value = fresh_value()
    raw.create_secret(Name=remote, SecretBinary=value.reveal().encode())
    raw.put_secret_value(SecretId=remote, SecretBinary=b"\xff\x00")
    raw.put_secret_value(SecretId=remote, SecretString="served")
    assert list(store.old_versions(remote).values()) == [value]
    assert len(store.purge_old_versions(remote)) == 2


def test_a_replica_follows_its_primary_and_is_erased_with_it(
    opened: Open, raw_in: Callable[[str], Any], remote: str
) -> None:
    store, old = opened(replicas=[OTHER]), fresh_value()
    written = put(store, remote, old)
    put(store, remote, fresh_value(), 2)
    assert store.old_versions(remote) == {written.version_id: old}
    assert len(store.purge_old_versions(remote)) == 1
    assert store.purge(remote) == ()
    assert store.describe(remote) is None
    assert opened(region=OTHER).describe(remote) is None
    put(store, remote, fresh_value(), 3)
    assert raw_in(OTHER).describe_secret(SecretId=remote)["PrimaryRegion"] == REGION


def test_what_is_scheduled_for_deletion_in_its_region_is_erased(opened: Open, raw: Any, remote: str) -> None:
    store = opened(replicas=[OTHER])
    put(store, remote, fresh_value())
    store.delete(remote)
    assert "DeletedDate" in raw.describe_secret(SecretId=remote)
    assert store.purge(remote) == ()
    assert store.describe(remote) is None


def test_a_replica_that_became_a_secret_of_its_own_is_past_and_is_named(
    opened: Open, raw_in: Callable[[str], Any], remote: str
) -> None:
    value, replicated = fresh_value(), opened(replicas=[OTHER])
    tags = [{"Key": key, "Value": text} for key, text in marks_for(value).to_tags().items()]
    there = raw_in(OTHER).create_secret(Name=remote, SecretString=value.reveal(), Tags=tags)["VersionId"]
    raw_in(OTHER).put_secret_value(SecretId=remote, SecretString="its newest")
    newest = raw_in(OTHER).describe_secret(SecretId=remote)["VersionIdsToStages"]
    (served,) = [version for version, labels in newest.items() if "AWSCURRENT" in labels]
    put(replicated, remote, fresh_value(), 2)
    assert replicated.old_versions(remote) == {
        f"{there} in {OTHER}": value,
        f"{served} in {OTHER}": Sensitive("its newest"),
    }
    why = "it is a separate secret there"
    assert replicated.purge_old_versions(remote) == (
        f"version {there} in {OTHER} can still be read by its id: {why}",
        f"version {served} in {OTHER} is served: {why}",
    )
    assert replicated.purge(remote) == (f"version {served} in {OTHER} is served there",)
    assert replicated.purge(remote) == (f"version {served} in {OTHER} is served there",)


def test_a_secret_of_that_name_that_is_nobodys_copy_is_none_of_ours(
    opened: Open, raw_in: Callable[[str], Any], remote: str
) -> None:
    raw_in(OTHER).create_secret(Name=remote, SecretString="theirs")
    store = opened(replicas=[OTHER])
    put(store, remote, fresh_value())
    assert store.old_versions(remote) == {}
    assert store.purge_old_versions(remote) == ()
    assert store.purge(remote) == ()
    assert raw_in(OTHER).get_secret_value(SecretId=remote)["SecretString"] == "theirs"


class TwoRegions:
    """A primary that serves its second version, and a replica that still serves the first, as AWS tells it."""

    def __init__(self, remote: str, old: Sensitive, status: str) -> None:
        self.remote = remote
        self.values = {V1: old.reveal(), V2: fresh_value().reveal()}
        self.status = status
        self.removed: list[Any] = []
        self.refuses: dict[str, str] = {}

    def answer(self, request: Request) -> Response:
        region = OTHER if f"/{OTHER}/" in request.headers["Authorization"] else REGION
        action = request.headers["X-Amz-Target"].partition(".")[2]
        if action in self.refuses:
            return Response(json.dumps({"__type": self.refuses[action], "Message": f"about {self.values}"}), 400)
        told = getattr(self, action)(region, request.get_json(force=True))
        return Response(json.dumps(told), content_type="application/x-amz-json-1.1")

    def labels(self, region: str) -> dict[str, list[str]]:
        return {V1: ["AWSCURRENT"]} if region == OTHER else {V2: ["AWSCURRENT"], V1: ["AWSPREVIOUS"]}

    def DescribeSecret(self, region: str, asked: Any) -> Any:  # noqa: N802 (AWS's name for it)
        statuses = [{"Region": OTHER, "Status": self.status}]
        told = {"Name": self.remote, "PrimaryRegion": REGION, "VersionIdsToStages": self.labels(region)}
        return told if region == OTHER else {**told, "ReplicationStatus": statuses}

    def ListSecretVersionIds(self, region: str, asked: Any) -> Any:  # noqa: N802
        listed = self.labels(region).items()
        return {"Versions": [{"VersionId": version, "VersionStages": labels} for version, labels in listed]}

    def GetSecretValue(self, region: str, asked: Any) -> Any:  # noqa: N802
        assert asked["VersionId"] in self.labels(region)
        return {"Name": self.remote, "SecretString": self.values[asked["VersionId"]]}

    def RemoveRegionsFromReplication(self, region: str, asked: Any) -> Any:  # noqa: N802
        return {"ReplicationStatus": []}

    def UpdateSecretVersionStage(self, region: str, asked: Any) -> Any:  # noqa: N802
        self.removed.append(asked)
        return {"Name": self.remote}


@pytest.fixture
def replica_with(opened: Open, httpserver: HTTPServer, remote: str) -> Callable[[Sensitive, str], Any]:
    def start(old: Sensitive, status: str) -> tuple[AwsSecretsManager, TwoRegions]:
        regions = TwoRegions(remote, old, status)
        httpserver.expect_request("/").respond_with_handler(regions.answer)
        return opened(endpoint_url=httpserver.url_for("").rstrip("/"), replicas=[OTHER]), regions

    return start


def test_what_a_replica_serves_whose_replication_failed_is_past_and_is_named(
    replica_with: Callable[[Sensitive, str], Any], remote: str
) -> None:
    old = fresh_value()
    store, regions = replica_with(old, "Failed")
    assert store.old_versions(remote) == {V1: old, f"{V1} in {OTHER}": old}
    assert store.purge_old_versions(remote) == (
        f"version {V1} can still be read by its id, until AWS deletes it",
        f"version {V1} in {OTHER} is served: its replication failed",
    )
    assert regions.removed == [{"SecretId": remote, "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": V1}]


def test_a_replica_that_aws_is_still_updating_is_waited_for(
    replica_with: Callable[[Sensitive, str], Any], remote: str
) -> None:
    store, regions = replica_with(fresh_value(), "InProgress")
    with pytest.raises(Locked, match=f"has not updated the replica in {OTHER} yet"):
        store.purge_old_versions(remote)
    assert len(regions.removed) == 1


@pytest.mark.parametrize(
    ("verb", "action", "code"),
    [
        ("purge_old_versions", "UpdateSecretVersionStage", "InvalidParameterException"),
        ("purge", "DeleteSecret", "InvalidParameterException"),
        ("purge", "DeleteSecret", "InvalidRequestException"),
    ],
)
def test_what_aws_can_not_do_yet_is_tried_again(
    replica_with: Callable[[Sensitive, str], Any], remote: str, verb: str, action: str, code: str
) -> None:
    store, regions = replica_with(fresh_value(), "InSync")

    regions.refuses[action] = code
    with pytest.raises(Locked) as caught:
        getattr(store, verb)(remote)
    assert_silent(caught.value, Sensitive(regions.values[V1]), store, remote)


@pytest.mark.parametrize(
    ("verb", "permission"),
    [("old_versions", "ListSecretVersionIds"), ("purge_old_versions", "DescribeSecret"), ("purge", "DescribeSecret")],
)
def test_a_missing_permission_is_named(
    store: AwsSecretsManager,
    aws: LocalAws,
    opened: Open,
    remote: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    permission: str,
) -> None:
    value = fresh_value()
    put(store, remote, value)
    policy = tmp_path / "policy.json"
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    local_aws.become(aws, policy, monkeypatch)
    narrow = opened()
    with pytest.raises(Denied, match=f"Allow secretsmanager:{permission}") as caught:
        getattr(narrow, verb)(remote)
    assert_silent(caught.value, value, narrow, remote)
