"""AWS Secrets Manager: the contract against the local server, and against an account where one is given.

``KEYTURN_TEST_AWS_REGION`` names the region to use with the credentials of the environment.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from typing import Any, ClassVar

import boto3
import pytest

from deployments.local.aws import LocalAws
from keyturn.core.errors import Conflict, Invalid, NotFound
from keyturn.core.names import AWS_SECRETS_MANAGER
from keyturn.core.stores import Copy, Marks
from keyturn.providers.aws_secrets_manager import AwsSecretsManager, version_id
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put

REGION = "eu-central-1"
CLOUD_REGION = os.environ.get("KEYTURN_TEST_AWS_REGION", "")


class AwsContract(StoreContract):
    """What is the same against either server; ``raw`` is an SDK client that knows nothing of Keyturn."""

    kind = AWS_SECRETS_MANAGER
    page_size = 100

    @pytest.fixture
    def foreign(self, raw: Any) -> Raw:
        return lambda name, value: raw.create_secret(Name=name, SecretString=value)

    @pytest.fixture
    def tampered(self, raw: Any) -> Raw:
        return lambda name, value: raw.put_secret_value(SecretId=name, SecretString=value)


@pytest.mark.skipif(not CLOUD_REGION, reason="KEYTURN_TEST_AWS_REGION is not set")
class TestAwsSecretsManagerInTheCloud(AwsContract):
    listing_lag: ClassVar[float] = 300

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


class TestAwsSecretsManager(AwsContract):
    """The contract, and what only AWS has."""

    @pytest.fixture
    def raw(self, aws: LocalAws) -> Iterator[Any]:
        client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=aws.endpoint_url)
        yield client
        client.close()

    @pytest.fixture
    def store(self, aws: LocalAws) -> Iterator[AwsSecretsManager]:
        store = AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url)
        yield store
        store.close()

    def test_a_secret_scheduled_for_deletion_is_found_and_restored_by_a_write(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        raw.delete_secret(SecretId=remote)
        found = store.find(remote)
        assert found == Copy(remote, version_id(marks_for(value)), marks_for(value), intact=False)
        put(store, remote, value)
        told = raw.describe_secret(SecretId=remote)
        assert "DeletedDate" not in told
        assert list(told["VersionIdsToStages"]) == [version_id(marks_for(value))]

    def test_a_push_cut_short_before_the_tags_is_finished_without_another_version(
        self, store: AwsSecretsManager, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        value = fresh_value()
        marks = marks_for(value, 2)
        raw.put_secret_value(SecretId=remote, ClientRequestToken=version_id(marks), SecretString=value.reveal())
        cut_short = store.find(remote)
        assert cut_short is not None
        assert not cut_short.intact
        assert put(store, remote, value, version=2) == store.find(remote) == Copy(remote, version_id(marks), marks)
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
        found = store.find(remote)
        assert found is not None
        assert not found.intact
        assert put(store, remote, value, version=2) == store.find(remote) == new
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
        assert store.find(remote) == Copy(remote, "", None, intact=False)
        with pytest.raises(NotFound):
            store.read(remote)
        value = fresh_value()
        put(store, remote, value)
        assert store.read(remote) == value

    def test_binary_data_is_refused_by_read(self, store: AwsSecretsManager, raw: Any, remote: str) -> None:
        raw.create_secret(Name=remote, SecretBinary=b"\xff\x00")
        with pytest.raises(Invalid, match="binary"):
            store.read(remote)

    def test_a_replica_is_managed_in_its_primary_region_alone(
        self, store: AwsSecretsManager, aws: LocalAws, raw: Any, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        raw.replicate_secret_to_regions(SecretId=remote, AddReplicaRegions=[{"Region": "eu-west-1"}])
        other = AwsSecretsManager("other", region="eu-west-1", endpoint_url=aws.endpoint_url)
        assert remote in [copy.name for copy in store.managed()]
        assert remote not in [copy.name for copy in other.managed()]
        other.close()

    def test_a_path_that_no_tag_can_hold_is_refused_before_anything_is_written(
        self, store: AwsSecretsManager, remote: str
    ) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="tag"):
            store.write(remote, value, marks_for(value, source="apps/pay,ments"), None)
        assert store.find(remote) is None

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
    marks = Marks("apps/payments/db", 7, "ab" * 32)
    assert version_id(marks) == "e84631b1-198c-54ec-8664-0944c7653f84"
