"""AWS Secrets Manager: the contract against the local server, and against an account where one is given.

``KEYTURN_TEST_AWS_REGION`` names the region to use with the credentials of the environment.
"""

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import boto3
import pytest
from botocore.exceptions import ClientError
from pytest_httpserver import HTTPServer

from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.ports.stores import Details, OwnershipTags, RemoteSecret
from keyturn.core.rights.posture import Safety
from keyturn.core.rights.rights import CopyRights
from keyturn.core.store_limits import AWS_SECRETS_MANAGER
from keyturn.providers.aws.secrets_manager import AwsSecretsManager, version_id
from local.emulators.aws import LocalAws
from tests.contracts.merging import MergingCases
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put
from tests.support import local_aws

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"
CLOUD_REGION = os.environ.get("KEYTURN_TEST_AWS_REGION", "")


Opened = Callable[..., AwsSecretsManager]
MARK = [{"Key": "keyturn-managed-by", "Value": "keyturn"}]


def rendered(names: tuple[str, ...], foreign: tuple[str, ...] = ()) -> list[str]:
    """The policy for every day and the one for emergencies, for copies of these names."""
    settings = AwsSecretsManagerSettings(kind=AWS_SECRETS_MANAGER, region=REGION, replicas=("eu-west-1",))
    copies = CopyRights("store-aws", "tests", names, foreign, deletes=True, tags=True, describes=True)
    return [document.text for document in settings.rights(copies)]


def actions(policy: str) -> set[str]:
    """What a policy allows, without the service's name."""
    return {action.partition(":")[2] for statement in json.loads(policy)["Statement"] for action in statement["Action"]}


class AwsContract(StoreContract):
    """What is the same against either server; ``raw`` is an SDK client that knows nothing of Keyturn."""

    kind = AWS_SECRETS_MANAGER
    page_size = 100
    creates = True

    @pytest.fixture
    def foreign(self, raw: Any) -> Raw:
        return lambda name, value: raw.create_secret(Name=name, SecretString=value)

    @pytest.fixture
    def tampered(self, raw: Any) -> Raw:
        return lambda name, value: raw.put_secret_value(SecretId=name, SecretString=value)


@pytest.mark.skipif(not CLOUD_REGION, reason="KEYTURN_TEST_AWS_REGION is not set")
class TestAwsSecretsManagerInTheCloud(AwsContract):
    listing_lag: ClassVar[float] = 300
    erase_lag: ClassVar[float] = 60

    @pytest.fixture
    def raw(self) -> Iterator[Any]:
        client = boto3.Session().client("secretsmanager", region_name=CLOUD_REGION)
        yield client
        client.close()

    @pytest.fixture
    def store(self) -> Iterator[AwsSecretsManager]:
        store = AwsSecretsManager("aws", region=CLOUD_REGION)
        yield store
        store.close()

    @pytest.fixture
    def remote(self, raw: Any) -> Iterator[str]:
        remote = f"keyturn-test-{secrets.token_hex(6)}"
        yield remote
        filters = [{"Key": "name", "Values": [remote]}]
        for page in raw.get_paginator("list_secrets").paginate(Filters=filters, IncludePlannedDeletion=True):
            for entry in page["SecretList"]:
                raw.delete_secret(SecretId=entry["Name"], ForceDeleteWithoutRecovery=True)


class TestAwsSecretsManager(MergingCases, AwsContract):
    """The contract, and what only AWS has."""

    @pytest.fixture
    def raw(self, aws: LocalAws) -> Iterator[Any]:
        client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url)
        yield client
        client.close()

    @pytest.fixture
    def opened(self, aws: LocalAws) -> Iterator[Opened]:
        """Opens stores with settings of the test's own."""
        stores = []

        def another(**settings: Any) -> AwsSecretsManager:
            stores.append(AwsSecretsManager("aws", **{"region": REGION, "endpoint_url": aws.endpoint_url, **settings}))
            return stores[-1]

        yield another
        for store in stores:
            store.close()

    @pytest.fixture
    def store(self, opened: Opened) -> AwsSecretsManager:
        return opened()

    def test_a_secret_scheduled_for_deletion_is_found_and_restored_by_a_write(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.delete_secret(SecretId=remote)
        found = store.describe(remote)
        assert found == RemoteSecret(remote, version_id(marks_for(value)), marks_for(value), intact=False)
        put(store, remote, value)
        told = raw.describe_secret(SecretId=remote)
        assert "DeletedDate" not in told
        assert list(told["VersionIdsToStages"]) == [version_id(marks_for(value))]

    def test_a_deleted_secret_can_be_restored_for_the_recovery_window(
        self, opened: Opened, raw: Any, remote: str
    ) -> None:
        store = opened(recovery_window=timedelta(days=7))
        put(store, remote, fresh_value())
        store.delete(remote)
        told = raw.describe_secret(SecretId=remote)
        assert timedelta(days=6) < told["DeletedDate"] - told["LastChangedDate"] < timedelta(days=8)

    def test_a_removed_tag_shows_and_a_write_puts_it_back(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        raw.untag_resource(SecretId=remote, TagKeys=["keyturn-managed-by"])
        assert store.describe(remote) == RemoteSecret(remote, written.version_id, None)
        assert remote not in [copy.name for copy in store.list_managed()]
        put(store, remote, value)
        raw.untag_resource(SecretId=remote, TagKeys=["keyturn-fingerprint"])
        found = store.describe(remote)
        assert found is not None
        assert not found.intact
        assert put(store, remote, value) == store.describe(remote) == written

    def test_a_secret_deleted_without_recovery_is_absent(self, store: AwsSecretsManager, raw: Any, remote: str) -> None:
        put(store, remote, fresh_value())
        raw.delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True)
        assert store.describe(remote) is None
        assert remote not in [copy.name for copy in store.list_managed()]

    def test_a_secret_scheduled_for_deletion_is_not_among_the_many_that_are_read(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, f"{remote}-stays", value)
        put(store, f"{remote}-goes", fresh_value())
        raw.create_secret(Name=f"{remote}-empty")
        raw.delete_secret(SecretId=f"{remote}-goes")
        asked = [f"{remote}-stays", f"{remote}-goes", f"{remote}-empty", f"{remote}-stays"]
        assert store.read_many(asked) == {f"{remote}-stays": value}
        assert store.read_many([]) == {}

    def test_binary_data_among_many_is_refused(self, store: AwsSecretsManager, raw: Any, remote: str) -> None:
        raw.create_secret(Name=remote, SecretBinary=b"\xff\x00")
        with pytest.raises(Invalid, match="binary"):
            store.read_many([remote])

    def test_a_copy_that_an_earlier_release_left_with_an_older_versions_name_is_intact_and_loses_it(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        for number in (1, 2):
            put(store, remote, fresh_value(), version=number)
        older = version_id(put(store, remote, value := fresh_value(), version=3).marks or marks_for(value))
        written = put(store, remote, fresh_value(), version=4)
        raw.tag_resource(SecretId=remote, Tags=[{"Key": "keyturn-version", "Value": older}])
        assert store.describe(remote) == written
        newer = put(store, remote, fresh_value(), version=5)
        assert store.describe(remote) == newer
        raw.update_secret_version_stage(
            SecretId=remote, VersionStage="AWSCURRENT", MoveToVersionId=older, RemoveFromVersionId=newer.version_id
        )
        found = store.describe(remote)
        assert found is not None
        assert not found.intact

    def test_a_push_cut_short_before_the_tags_is_finished_without_another_version(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        value = fresh_value()
        marks = marks_for(value, 2)
        raw.put_secret_value(SecretId=remote, ClientRequestToken=version_id(marks), SecretString=value.reveal())
        cut_short = store.describe(remote)
        assert cut_short is not None
        assert not cut_short.intact
        assert (
            put(store, remote, value, version=2)
            == store.describe(remote)
            == RemoteSecret(remote, version_id(marks), marks)
        )
        assert len(raw.describe_secret(SecretId=remote)["VersionIdsToStages"]) == 2

    def test_a_version_that_lost_every_label_is_served_again(
        self, store: AwsSecretsManager, raw: Any, remote: str, tampered: Raw
    ) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        tampered(remote, fresh_value().reveal())
        tampered(remote, fresh_value().reveal())
        assert put(store, remote, value) == written
        assert raw.get_secret_value(SecretId=remote)["SecretString"] == value.reveal()

    def test_moving_the_current_label_behind_our_back_shows_and_is_mended(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        old = put(store, remote, fresh_value())
        value = fresh_value()
        new = put(store, remote, value, version=2)
        raw.update_secret_version_stage(
            SecretId=remote,
            VersionStage="AWSCURRENT",
            MoveToVersionId=old.version_id,
            RemoveFromVersionId=new.version_id,
        )
        found = store.describe(remote)
        assert found is not None
        assert not found.intact
        assert put(store, remote, value, version=2) == store.describe(remote) == new
        assert store.read(remote) == value

    def test_two_runs_that_create_the_same_version_agree(self, store: AwsSecretsManager, remote: str) -> None:
        value = fresh_value()
        marks = marks_for(value)
        assert store.write(remote, value, marks, None) == store.write(remote, value, marks, None)

    def test_creating_over_somebody_elses_secret_is_a_conflict(
        self, store: AwsSecretsManager, remote: str, foreign: Raw
    ) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        with pytest.raises(Conflict) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    def test_other_peoples_tags_stay(self, store: AwsSecretsManager, raw: Any, remote: str) -> None:
        put(store, remote, fresh_value())
        raw.tag_resource(SecretId=remote, Tags=[{"Key": "team", "Value": "payments"}])
        put(store, remote, fresh_value(), version=2)
        tags = {tag["Key"]: tag["Value"] for tag in raw.describe_secret(SecretId=remote)["Tags"]}
        assert tags["team"] == "payments"
        assert tags["keyturn-source"] == "apps/payments/db@2"

    def test_a_secret_that_never_got_a_value_is_not_intact(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        raw.create_secret(Name=remote)
        assert store.describe(remote) == RemoteSecret(remote, "", None, intact=False)
        with pytest.raises(NotFound):
            store.read(remote)
        value = fresh_value()
        put(store, remote, value)
        assert store.read(remote) == value

    def test_binary_data_is_refused_by_read(self, store: AwsSecretsManager, raw: Any, remote: str) -> None:
        raw.create_secret(Name=remote, SecretBinary=b"\xff\x00")
        with pytest.raises(Invalid, match="binary"):
            store.read(remote)

    def test_a_replica_is_managed_in_its_primary_region_alone(self, opened: Opened, remote: str) -> None:
        value = fresh_value()
        store, other = opened(replicas=["eu-west-1"]), opened(region="eu-west-1")
        put(store, remote, value)
        assert other.read(remote) == value
        for listed in (store.list_managed, store.list_all):
            assert remote in [copy.name for copy in listed()]
        for listed in (other.list_managed, other.list_all):
            assert remote not in [copy.name for copy in listed()]

    def test_a_region_that_lacks_its_replica_gets_one_at_the_next_write(
        self, store: AwsSecretsManager, opened: Opened, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        raw.replicate_secret_to_regions(SecretId=remote, AddReplicaRegions=[{"Region": "eu-west-1"}])
        value = fresh_value()
        replicating = opened(replicas=["eu-west-1", "eu-north-1"])
        put(replicating, remote, value, version=2)
        put(replicating, remote, value, version=3)
        told = raw.describe_secret(SecretId=remote)["ReplicationStatus"]
        assert [(replica["Region"], replica["Status"]) for replica in told] == [
            ("eu-west-1", "InSync"),
            ("eu-north-1", "InSync"),
        ]
        assert opened(region="eu-north-1").read(remote) == value

    def test_a_replica_that_failed_is_made_again_once_its_name_is_free(
        self, opened: Opened, aws: LocalAws, raw: Any, remote: str
    ) -> None:
        in_the_way = boto3.Session().client("secretsmanager", region_name="eu-west-1", endpoint_url=aws.endpoint_url)
        in_the_way.create_secret(Name=remote, SecretString="theirs")
        store = opened(replicas=["eu-west-1"])
        put(store, remote, fresh_value())
        assert raw.describe_secret(SecretId=remote)["ReplicationStatus"][0]["Status"] == "Failed"
        in_the_way.delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True)
        in_the_way.close()
        value = fresh_value()
        put(store, remote, value, version=2)
        assert opened(region="eu-west-1").read(remote) == value

    def test_a_secret_with_replicas_is_deleted_with_them_and_restored_with_them(
        self, opened: Opened, raw: Any, remote: str
    ) -> None:
        store, other, value = opened(replicas=["eu-west-1"]), opened(region="eu-west-1"), fresh_value()
        put(store, remote, value)
        store.delete(remote)
        store.delete(remote)
        assert "DeletedDate" in raw.describe_secret(SecretId=remote)
        assert other.describe(remote) is None
        put(store, remote, value)
        assert other.read(remote) == value

    @pytest.mark.parametrize(
        ("key", "replica"),
        [
            ("alias/keyturn", {"Region": "eu-west-1", "KmsKeyId": "alias/keyturn"}),
            ("mrk-1234abcd", {"Region": "eu-west-1", "KmsKeyId": "mrk-1234abcd"}),
            ("arn:aws:kms:eu-central-1:111122223333:key/1234abcd", {"Region": "eu-west-1"}),
        ],
    )
    def test_a_key_that_has_one_name_everywhere_encrypts_the_replicas_too(
        self, opened: Opened, httpserver: HTTPServer, remote: str, key: str, replica: dict[str, str]
    ) -> None:
        httpserver.expect_request("/").respond_with_json({"VersionId": "1"})
        store = opened(endpoint_url=httpserver.url_for("").rstrip("/"), kms_key_id=key, replicas=["eu-west-1"])
        value = fresh_value()
        store.write(remote, value, marks_for(value), None)
        request, _ = httpserver.log[0]
        assert request.get_json(force=True)["AddReplicaRegions"] == [replica]

    def test_a_replica_has_its_own_key_and_the_catalogue_says_it(
        self, opened: Opened, httpserver: HTTPServer, remote: str
    ) -> None:
        httpserver.expect_request("/").respond_with_json({"VersionId": "1"})
        key = "arn:aws:kms:eu-west-3:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        replicas = ["eu-west-1", {"region": "eu-west-3", "kms_key_id": key}]
        said = {"kind": AWS_SECRETS_MANAGER, "region": REGION, "replicas": replicas}
        settings = AwsSecretsManagerSettings.model_validate(said)
        store = opened(
            endpoint_url=httpserver.url_for("").rstrip("/"), kms_key_id="alias/keyturn", replicas=settings.replicas
        )
        value = fresh_value()
        store.write(remote, value, marks_for(value), None)
        request, _ = httpserver.log[0]
        assert request.get_json(force=True)["AddReplicaRegions"] == [
            {"Region": "eu-west-1", "KmsKeyId": "alias/keyturn"},
            {"Region": "eu-west-3", "KmsKeyId": key},
        ]

    def test_what_stands_beside_a_copy_costs_a_call_for_each_kind_that_differs(
        self, store: AwsSecretsManager, remote: str
    ) -> None:
        value, made = fresh_value(), list[str]()
        store._client.meta.events.register("before-call.secretsmanager", lambda model, **_: made.append(model.name))
        before = put(store, remote, value, details=Details({"team": "a", "cost": "1"}))
        assert before.marks is not None
        made.clear()
        asked = Details({"team": "b"}, description="Another")
        laid = store.relabel(remote, replace(before.marks, tags=asked.names), asked, before)
        assert made == ["UntagResource", "TagResource", "UpdateSecret"]
        assert laid == store.describe(remote)
        made.clear()
        assert laid.marks is not None
        assert store.write(remote, value, laid.marks, laid, details=asked) == laid
        assert made == []

    def test_the_rendered_policies_allow_what_a_store_does_and_no_call_that_it_does_not_make(
        self, opened: Opened, aws: LocalAws, raw: Any, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted, gone = f"{remote}-adopted", f"{remote}-gone"
        raw.create_secret(Name=adopted, SecretString="theirs")
        names = (adopted, remote, f"{remote}-new", f"{remote}-newer")
        daily, emergency = rendered(names, foreign=(adopted,))
        with_mark = opened(replicas=["eu-west-1"])
        put(with_mark, gone, fresh_value())
        local_aws.become(aws, [daily], monkeypatch)
        store, value, made = opened(replicas=["eu-west-1"]), fresh_value(), set[str]()
        store._client.meta.events.register("before-call.secretsmanager", lambda model, **_: made.add(model.name))
        for name in (adopted, remote):
            put(store, name, value)
        raw.put_secret_value(SecretId=remote, SecretString="tampered")
        put(store, remote, value)
        store.delete(remote)
        put(store, remote, value)
        store.create(f"{remote}-newer", value, marks_for(value))
        store.delete(gone)
        assert store.read(remote) == store.read_many([remote])[remote] == value
        assert remote in {copy.name for copy in store.list_all()}
        there = put(store, remote, value, details=Details({"team": "a"}))
        store.relabel(remote, marks_for(value), Details(description="Another"), there)
        raw.remove_regions_from_replication(SecretId=remote, RemoveReplicaRegions=["eu-west-1"])
        put(store, remote, fresh_value(), 2)
        assert all(seen.safety is not Safety.UNSEEN for seen in store.posture([remote]))
        assert actions(daily) - {"UpdateSecretVersionStage"} <= made
        with pytest.raises(Denied):
            store.purge(remote)
        local_aws.become(aws, [daily, emergency], monkeypatch)
        revoker = opened(replicas=["eu-west-1"])
        assert revoker.old_versions(remote)
        assert revoker.purge_old_versions(remote)
        assert revoker.purge(remote) == ()

    @pytest.mark.parametrize(
        "attack",
        [
            lambda aws, remote: aws.delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True),
            lambda aws, remote: aws.delete_secret(SecretId=f"{remote}-theirs", RecoveryWindowInDays=30),
            lambda aws, remote: aws.put_secret_value(SecretId=f"{remote}-theirs", SecretString="mine"),
            lambda aws, remote: aws.get_secret_value(SecretId=f"{remote}-others-own"),
            lambda aws, remote: aws.put_secret_value(SecretId=f"{remote}-other", SecretString="mine"),
            lambda aws, remote: aws.update_secret(SecretId=f"{remote}-other", Description="mine"),
            lambda aws, remote: aws.create_secret(Name=f"{remote}-unheard", SecretString="mine", Tags=MARK),
            lambda aws, remote: aws.create_secret(Name=f"{remote}-new", SecretString="without a mark"),
            lambda aws, remote: aws.tag_resource(SecretId=f"{remote}-other", Tags=MARK),
            lambda aws, remote: aws.untag_resource(SecretId=f"{remote}-theirs", TagKeys=["team"]),
            lambda aws, remote: aws.list_secret_version_ids(SecretId=remote),
            lambda aws, remote: aws.get_random_password(),
            lambda aws, remote: aws.put_resource_policy(SecretId=remote, ResourcePolicy="{}"),
            lambda aws, remote: aws.delete_resource_policy(SecretId=remote),
            lambda aws, remote: aws.rotate_secret(SecretId=remote),
            lambda aws, remote: aws.cancel_rotate_secret(SecretId=remote),
        ],
    )
    def test_a_call_outside_the_rendered_policy_is_refused(
        self,
        opened: Opened,
        aws: LocalAws,
        raw: Any,
        remote: str,
        monkeypatch: pytest.MonkeyPatch,
        attack: Callable[[Any, str], Any],
    ) -> None:
        put(opened(), remote, fresh_value())
        put(opened(), f"{remote}-other", fresh_value())
        for name in ("theirs", "others-own"):
            raw.create_secret(Name=f"{remote}-{name}", SecretString="theirs")
        daily, _ = rendered((remote, f"{remote}-new", f"{remote}-theirs"))
        local_aws.become(aws, [daily], monkeypatch)
        with pytest.raises(ClientError, match="AccessDenied"):
            attack(opened()._client, remote)

    def test_a_new_copy_has_its_replicas_and_costs_one_call(
        self, opened: Opened, raw: Any, remote: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, value = opened(replicas=["eu-west-1"]), fresh_value()
        called: list[str] = []
        store._client.meta.events.register("before-call.secretsmanager", lambda model, **_: called.append(model.name))
        store.create(remote, value, marks_for(value))
        assert called == ["CreateSecret"]
        statuses = raw.describe_secret(SecretId=remote)["ReplicationStatus"]
        assert [replica["Region"] for replica in statuses] == ["eu-west-1"]

    def test_a_path_that_no_tag_can_hold_is_refused_before_anything_is_written(
        self, store: AwsSecretsManager, remote: str
    ) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="tag"):
            store.write(remote, value, marks_for(value, source="apps/pay,ments"), None)
        assert store.describe(remote) is None

    def test_the_given_kms_key_encrypts_what_is_created(self, aws: LocalAws, raw: Any, remote: str) -> None:
        store = AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url, kms_key_id="alias/keyturn")
        put(store, remote, fresh_value())
        store.close()
        assert raw.describe_secret(SecretId=remote)["KmsKeyId"] == "alias/keyturn"

    def test_debug_logs_hold_no_value(
        self, store: AwsSecretsManager, remote: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        logging.getLogger("botocore").setLevel(logging.DEBUG)
        try:
            value = fresh_value()
            put(store, remote, value)
            store.read(remote)
        finally:
            logging.getLogger("botocore").setLevel(logging.NOTSET)
        assert "secretsmanager.GetSecretValue" in caplog.text
        assert value.reveal() not in caplog.text


def test_version_ids_stay_what_they_were_in_every_release() -> None:
    marks = OwnershipTags("apps/payments/db", 7, "ab" * 32)
    assert version_id(marks) == "e84631b1-198c-54ec-8664-0944c7653f84"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", Denied),
        ("DecryptionFailure", Denied),
        ("InternalServiceError", Unavailable),
        ("SomethingNew", Invalid),
        ("ThrottlingException", Throttled),
    ],
)
def test_what_hinders_one_of_many_is_told_with_its_name(
    aws: LocalAws, httpserver: HTTPServer, code: str, expected: type[KeyturnError]
) -> None:
    value = fresh_value()
    answer = {
        "SecretValues": [{"Name": "a", "SecretString": value.reveal()}],
        "Errors": [{"SecretId": "b", "ErrorCode": code, "Message": f"about {value.reveal()}"}],
    }
    httpserver.expect_request("/").respond_with_json(answer)
    store = AwsSecretsManager("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/"))
    with pytest.raises(expected) as caught:
        store.read_many(["a", "b"])
    store.close()
    assert type(caught.value) is expected
    assert_silent(caught.value, value, store, "b")


def test_a_batch_that_aws_answers_in_two_parts_is_read_whole(aws: LocalAws, httpserver: HTTPServer) -> None:
    first, second = fresh_value(), fresh_value()
    rest = {"SecretValues": [{"Name": "b", "SecretString": second.reveal()}], "Errors": []}
    part = {"SecretValues": [{"Name": "a", "SecretString": first.reveal()}], "NextToken": "more"}
    httpserver.expect_ordered_request("/").respond_with_json(part)
    httpserver.expect_ordered_request("/", json={"SecretIdList": ["a", "b"], "NextToken": "more"}).respond_with_json(
        rest
    )
    store = AwsSecretsManager("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/"))
    assert store.read_many(["a", "b"]) == {"a": first, "b": second}
    store.close()
