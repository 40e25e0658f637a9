"""Data keys by AWS KMS: the contract against the local server, and what becomes of its refusals.

The server plays the rotation of a key: real KMS tells generations apart within what it gives out.
"""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from keyturn.core.errors import Denied, NotFound, Unavailable
from keyturn.core.ports.envelope import DataKeys, SealRefused
from keyturn.providers.aws.data_keys import KmsDataKeys
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.contracts.data_keys import CONTEXT, DataKeysContract
from tests.support import local_aws

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"


@pytest.fixture
def kms(aws: LocalAws) -> Any:
    return boto3.client(  # type: ignore[call-overload, unused-ignore]
        "kms", region_name=REGION, endpoint_url=aws.endpoint_url, **local_aws.key_of(aws)
    )


def opened(aws: LocalAws, key_id: str) -> KmsDataKeys:
    return KmsDataKeys(key_id, region=REGION, endpoint_url=aws.endpoint_url)


class TestKmsDataKeys(DataKeysContract):
    """The contract; the server denies where KMS says that a ciphertext is of another key, or none."""

    refusals = (SealRefused, Denied)

    @pytest.fixture
    def key_id(self, kms: Any) -> str:
        return str(kms.create_key()["KeyMetadata"]["KeyId"])

    @pytest.fixture
    def keys(self, aws: LocalAws, key_id: str) -> DataKeys:
        return opened(aws, key_id)

    @pytest.fixture
    def other(self, aws: LocalAws, kms: Any) -> DataKeys:
        return opened(aws, kms.create_key()["KeyMetadata"]["KeyId"])

    @pytest.fixture
    def rotate(self, kms: Any, key_id: str) -> Callable[[], object]:
        return lambda: kms.rotate_key_on_demand(KeyId=key_id)

    def test_two_actions_suffice(
        self, aws: LocalAws, keys: DataKeys, key_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statement = {
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": "*",
        }
        local_aws.become(aws, [json.dumps({"Version": "2012-10-17", "Statement": [statement]})], monkeypatch)
        limited = opened(aws, key_id)
        made = limited.make(CONTEXT)
        assert limited.unwrap(made.wrapped, CONTEXT) == made.key
        limited.close()

    def test_a_missing_right_is_named(self, aws: LocalAws, key_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        nothing = {"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"}
        local_aws.become(aws, [json.dumps({"Version": "2012-10-17", "Statement": [nothing]})], monkeypatch)
        with pytest.raises(Denied, match="Allow kms:GenerateDataKey on the key"):
            opened(aws, key_id).make(CONTEXT)


def test_a_key_that_is_not_there_is_named(aws: LocalAws) -> None:
    with pytest.raises(NotFound, match="the KMS key 1234"):
        opened(aws, "1234").make(CONTEXT)


def test_no_answer_is_no_refusal(aws: LocalAws) -> None:
    away = KmsDataKeys("1234", region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        away.make(CONTEXT)
    with pytest.raises(SealRefused):
        away.unwrap("not base64!", CONTEXT)
