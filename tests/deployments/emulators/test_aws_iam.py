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

from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws

pytestmark = pytest.mark.sampled(9, of="file")

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


def allow(iam: Any, user: str, name: str = "may", **statement: Any) -> None:
    """Give the user a policy of one statement; without more it allows everything."""
    whole = {"Effect": "Allow", "Action": "*", "Resource": "*", **statement}
    document = json.dumps({"Version": "2012-10-17", "Statement": [whole]})
    iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=document)


def deny_sessions(iam: Any, user: str, before: datetime) -> None:
    issued = {"DateLessThan": {"aws:TokenIssueTime": f"{before:%Y-%m-%dT%H:%M:%SZ}"}}
    allow(iam, user, "no-older-sessions", Effect="Deny", Condition=issued)


def session(aws: LocalAws, key: dict[str, str], **request: Any) -> dict[str, str]:
    """A session that STS gives for the key, in the words of a client's arguments."""
    with closing(client(aws, "sts", **key)) as sts:
        got = sts.get_session_token(**request)["Credentials"]
    return {
        "aws_access_key_id": got["AccessKeyId"],
        "aws_secret_access_key": got["SecretAccessKey"],
        "aws_session_token": got["SessionToken"],
    }


def reads(aws: LocalAws, signing: dict[str, str]) -> str:
    """The code with which a signer may not list secrets; empty where it may."""
    with closing(client(aws, "secretsmanager", **signing)) as secrets_manager:
        return code_of(secrets_manager.list_secrets)


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


# sessions


def test_a_session_acts_as_its_user(aws: LocalAws, iam: Any, user: str) -> None:
    given = session(aws, made(iam, user))
    assert given["aws_access_key_id"].startswith("ASIA")
    assert identified(aws, given) == f"arn:aws:iam::123456789012:user/applications/{user}"
    assert reads(aws, given) == "AccessDeniedException"
    allow(iam, user)
    assert reads(aws, given) == ""


def test_a_session_outlives_the_key_that_it_was_got_with(aws: LocalAws, iam: Any, user: str) -> None:
    allow(iam, user)
    key = made(iam, user)
    given = session(aws, key)
    iam.update_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"], Status="Inactive")
    assert reads(aws, given) == ""
    iam.delete_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"])
    assert reads(aws, given) == ""


@pytest.mark.parametrize("spoilt", ["aws_secret_access_key", "aws_session_token"])
def test_a_session_is_signed_with_its_own_secret_and_token(aws: LocalAws, iam: Any, user: str, spoilt: str) -> None:
    allow(iam, user)
    assert reads(aws, {**session(aws, made(iam, user)), spoilt: "wrong"}) in (
        "UnrecognizedClientException",
        "InvalidSignatureException",
    )


def test_a_session_reaches_neither_iam_nor_more_sessions(aws: LocalAws, iam: Any, user: str) -> None:
    allow(iam, user)
    given = session(aws, made(iam, user))
    with closing(client(aws, "iam", **given)) as admin, closing(client(aws, "sts", **given)) as sts:
        assert code_of(admin.list_access_keys, UserName=user) == "AccessDenied"
        assert code_of(sts.get_session_token) == "AccessDenied"


@pytest.mark.parametrize(("seconds", "code"), [(900, ""), (129_600, ""), (129_601, "ValidationError")])
def test_a_session_lasts_a_day_and_a_half_at_most(aws: LocalAws, iam: Any, user: str, seconds: int, code: str) -> None:
    with closing(client(aws, "sts", **made(iam, user))) as sts:
        assert code_of(sts.get_session_token, DurationSeconds=seconds) == code


def test_a_session_of_a_user_who_is_gone_is_refused(aws: LocalAws, iam: Any, user: str) -> None:
    key = made(iam, user)
    given = session(aws, key)
    iam.delete_access_key(UserName=user, AccessKeyId=key["aws_access_key_id"])
    iam.delete_user(UserName=user)
    assert identified(aws, given) == "InvalidClientTokenId"


def test_a_policy_may_refuse_sessions_from_before_a_moment_and_nobody_else(aws: LocalAws, iam: Any, user: str) -> None:
    allow(iam, user)
    key = made(iam, user)
    given, now = session(aws, key), datetime.now(UTC)
    deny_sessions(iam, user, now - timedelta(minutes=1))
    assert reads(aws, given) == ""
    deny_sessions(iam, user, now + timedelta(minutes=1))
    assert reads(aws, given) == "AccessDeniedException"
    assert reads(aws, key) == ""
    assert identified(aws, given).endswith(user)


# conditions


def test_an_allowance_may_be_for_users_with_a_boundary_alone(aws: LocalAws, iam: Any, user: str) -> None:
    boundary, admin = "arn:aws:iam::123456789012:policy/edge", f"admin-{user}"
    iam.create_user(UserName=admin)
    allow(iam, admin, Condition={"StringEquals": {"iam:PermissionsBoundary": boundary}})
    with closing(client(aws, "iam", **made(iam, admin))) as limited:
        assert code_of(limited.list_access_keys, UserName=user) == "AccessDenied"
        iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=f"{boundary}-of-others")
        assert code_of(limited.list_access_keys, UserName=user) == "AccessDenied"
        iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=boundary)
        assert code_of(limited.list_access_keys, UserName=user) == ""


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_condition_that_is_not_known_opens_nothing(aws: LocalAws, iam: Any, user: str, effect: str) -> None:
    if effect == "Deny":
        allow(iam, user)
    allow(iam, user, "unknown", Effect=effect, Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})
    assert reads(aws, made(iam, user)) == "AccessDeniedException"
