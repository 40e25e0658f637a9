"""The local AWS: access keys behave as IAM documents them."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from deployments.local.aws import LocalAws
from deployments.local.ports import free_port
from tests.support import local_aws

REGION = "eu-central-1"
ONE_TRY = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as patch:
        local_aws.use(server, patch)
        yield server


def client(aws: LocalAws, service: Any, **signing: Any) -> Any:
    return boto3.Session().client(service, region_name=REGION, endpoint_url=aws.endpoint_url, config=ONE_TRY, **signing)


@pytest.fixture(scope="module")
def iam(aws: LocalAws) -> Iterator[Any]:
    with closing(client(aws, "iam")) as opened:
        yield opened


@pytest.fixture
def user(iam: Any) -> str:
    name = f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=name, Path="/applications/")
    return name


def made(iam: Any, user: str) -> dict[str, str]:
    """A new key, in the words of a client's arguments."""
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def code_of(call: Callable[..., Any], **request: Any) -> str:
    """The error code that AWS's documentation gives for this; empty for a success."""
    try:
        call(**request)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def identified(aws: LocalAws, key: dict[str, str]) -> str:
    """What STS says of a key: whose it is, or the error's code."""
    with closing(client(aws, "sts", **key)) as sts:
        return code_of(sts.get_caller_identity) or str(sts.get_caller_identity()["Arn"])


def last_used(iam: Any, key: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = iam.get_access_key_last_used(AccessKeyId=key["aws_access_key_id"])["AccessKeyLastUsed"]
    return told


def test_sts_tells_whose_key_it_is(aws: LocalAws, iam: Any, user: str) -> None:
    assert identified(aws, made(iam, user)) == f"arn:aws:iam::123456789012:user/applications/{user}"


def test_a_user_has_two_keys_at_most(iam: Any, user: str) -> None:
    made(iam, user)
    second = made(iam, user)
    assert code_of(iam.create_access_key, UserName=user) == "LimitExceeded"
    iam.delete_access_key(UserName=user, AccessKeyId=second["aws_access_key_id"])
    assert code_of(iam.create_access_key, UserName=user) == ""


def test_an_inactive_key_is_refused_until_it_is_active_again(aws: LocalAws, iam: Any, user: str) -> None:
    key = made(iam, user)
    iam.update_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"], Status="Inactive")
    assert identified(aws, key) == "InvalidClientTokenId"
    with closing(client(aws, "secretsmanager", **key)) as secrets_manager:
        assert code_of(secrets_manager.list_secrets) == "UnrecognizedClientException"
    iam.update_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"], Status="Active")
    assert user in identified(aws, key)


def test_a_deleted_key_is_refused(aws: LocalAws, iam: Any, user: str) -> None:
    key = made(iam, user)
    iam.delete_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"])
    assert identified(aws, key) == "InvalidClientTokenId"
    assert code_of(iam.delete_access_key, UserName=user, AccessKeyId=key["aws_access_key_id"]) == "NoSuchEntity"


def test_a_wrong_secret_is_refused_and_is_no_use_of_the_key(aws: LocalAws, iam: Any, user: str) -> None:
    key = made(iam, user)
    assert identified(aws, {**key, "aws_secret_access_key": "wrong"}) == "SignatureDoesNotMatch"
    assert last_used(iam, key) == {"ServiceName": "N/A", "Region": "N/A"}


def test_a_use_is_told_with_service_and_region(aws: LocalAws, iam: Any, user: str) -> None:
    key = made(iam, user)
    identified(aws, key)
    told = last_used(iam, key)
    assert (told["ServiceName"], told["Region"]) == ("sts", REGION)
    assert abs(datetime.now(UTC) - told["LastUsedDate"]) < timedelta(minutes=1)


def test_a_policy_may_name_the_users_whose_keys_it_is_about(aws: LocalAws, iam: Any, user: str) -> None:
    allowed = f"arn:aws:iam::123456789012:user/applications/{user}"
    statement = {"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": allowed}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_user(UserName=f"admin-{user}")
    iam.put_user_policy(UserName=f"admin-{user}", PolicyName="may", PolicyDocument=document)
    with closing(client(aws, "iam", **made(iam, f"admin-{user}"))) as admin:
        key = made(admin, user)
        assert code_of(admin.get_access_key_last_used, AccessKeyId=key["aws_access_key_id"]) == ""
        assert code_of(admin.create_access_key, UserName=f"admin-{user}") == "AccessDenied"
        assert code_of(admin.create_access_key, UserName="nobody") == "AccessDenied"


def test_a_new_key_is_known_some_seconds_later_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalAws(tmp_path, free_port(), key_settle=1) as slow:
        local_aws.use(slow, monkeypatch)
        with closing(client(slow, "iam")) as iam:
            iam.create_user(UserName="app")
            key = made(iam, "app")
        assert identified(slow, key) == "InvalidClientTokenId"
        time.sleep(1)
        assert identified(slow, key).endswith("user/app")
