"""What the AWS adapters share: who they sign in as, and which error an answer becomes."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from pytest_httpserver import HTTPServer

from keyturn.core.errors import Denied, Invalid, KeyturnError, Throttled, Unavailable
from keyturn.core.ports.stores import RemoteSecret
from keyturn.providers.aws.secrets_manager import AwsSecretsManager
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.contracts.store import assert_silent, fresh_value, marks_for, put

pytestmark = pytest.mark.sampled(4, of="file")

REGION = "eu-central-1"


@pytest.fixture
def iam(aws: LocalAws) -> Iterator[Any]:
    client = boto3.Session().client("iam", region_name="us-east-1", endpoint_url=aws.endpoint_url)
    yield client
    client.close()


@pytest.fixture
def remote() -> str:
    return f"keyturn-test-{secrets.token_hex(6)}"


# signing in


def opened(aws: LocalAws, **settings: Any) -> AwsSecretsManager:
    return AwsSecretsManager("aws", region=REGION, endpoint_url=aws.endpoint_url, **settings)


def refused(aws: LocalAws, remote: str, **settings: Any) -> Denied:
    """The Denied that a write gets."""
    store, value = opened(aws, **settings), fresh_value()
    with pytest.raises(Denied) as caught:
        store.write(remote, value, marks_for(value), None)
    store.close()
    assert_silent(caught.value, value, store, remote)
    return caught.value


def new_user(iam: Any, monkeypatch: pytest.MonkeyPatch, policy: dict[str, Any] | None = None) -> str:
    """Sign in as a fresh user who may do what the policy says, and tell its ARN."""
    name = f"user-{secrets.token_hex(4)}"
    arn: str = iam.create_user(UserName=name)["User"]["Arn"]
    if policy:
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    return arn


def allow(action: str, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, **(more or {"Resource": "*"})}
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_no_credentials_are_denied(aws: LocalAws, remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws.directory / "absent"))
    assert "role" in refused(aws, remote).hint


def test_an_unknown_key_is_denied(aws: LocalAws, remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA" + "X" * 16)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "UnrecognizedClientException" in str(refused(aws, remote))


def test_a_user_without_permission_is_told_which_one_is_missing(
    aws: LocalAws, iam: Any, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_user(iam, monkeypatch)
    assert "secretsmanager:CreateSecret" in refused(aws, remote).hint


def test_a_profile_that_is_not_there_is_denied(aws: LocalAws) -> None:
    with pytest.raises(Denied, match="ProfileNotFound"):
        opened(aws, profile="absent")


def test_a_profile_signs_in(aws: LocalAws, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "credentials"
    named.write_text(aws.credentials.read_text().replace("[default]", "[operator]"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(named))
    store = opened(aws, profile="operator")
    assert store.describe(remote) is None
    store.close()


def test_a_role_is_assumed_and_does_what_its_user_may_not(
    aws: LocalAws, iam: Any, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = new_user(iam, monkeypatch, allow("sts:AssumeRole"))
    trust = allow("sts:AssumeRole", Principal={"AWS": user})
    role = f"role-{secrets.token_hex(4)}"
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="may", PolicyDocument=json.dumps(allow("secretsmanager:*")))
    refused(aws, remote)
    store, value = opened(aws, role_arn=arn), fresh_value()
    put(store, remote, value)
    assert store.read(remote) == value
    store.close()


def test_a_role_that_may_not_be_assumed_is_denied(
    aws: LocalAws, iam: Any, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_user(iam, monkeypatch)
    assert "sts:AssumeRole" in refused(aws, remote, role_arn="arn:aws:iam::123456789012:role/absent").hint


@pytest.mark.parametrize("settings", [{"endpoint_url": "no url"}, {"endpoint_url": None, "region": "no region"}])
def test_malformed_settings_are_invalid(settings: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="malformed"):
        AwsSecretsManager("aws", **{"region": REGION, **settings})  # type: ignore[arg-type]


# answers that the local server does not give


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, Throttled),
        ("TooManyRequestsException", 429, Throttled),
        ("InternalServiceError", 500, Unavailable),
        ("ServiceUnavailable", 503, Unavailable),
        ("ExpiredTokenException", 400, Denied),
        ("EncryptionFailure", 400, Denied),
        ("LimitExceededException", 400, Invalid),
        ("SomethingNew", 400, Invalid),
    ],
)
def test_an_answer_becomes_the_error_that_says_whether_to_retry(
    aws: LocalAws, httpserver: HTTPServer, remote: str, code: str, status: int, expected: type[KeyturnError]
) -> None:
    value = fresh_value()
    body = {"__type": code, "message": f"about {value.reveal()}"}
    httpserver.expect_request("/").respond_with_json(body, status=status)
    store = AwsSecretsManager("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/"))
    with pytest.raises(expected) as caught:
        store.write(remote, value, marks_for(value), None)
    store.close()
    assert type(caught.value) is expected
    assert code in caught.value.problem
    assert_silent(caught.value, value, store, remote)


def test_an_answer_that_is_not_from_aws_is_unavailable(aws: LocalAws, httpserver: HTTPServer, remote: str) -> None:
    httpserver.expect_request("/").respond_with_data("<html>gateway</html>", status=200)
    store, value = (
        AwsSecretsManager("aws", region=REGION, endpoint_url=httpserver.url_for("").rstrip("/")),
        fresh_value(),
    )
    marks = marks_for(value)
    for call in (
        lambda: store.describe(remote),
        lambda: store.read(remote),
        lambda: list(store.list_managed()),
        lambda: store.write(remote, value, marks, None),
        lambda: store.write(remote, value, marks, RemoteSecret(remote, "1", None)),
    ):
        with pytest.raises(Unavailable):
            call()
    store.close()


def test_an_endpoint_that_nobody_listens_on_is_unavailable(aws: LocalAws, remote: str) -> None:
    store, value = (
        AwsSecretsManager("aws", region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}"),
        fresh_value(),
    )
    with pytest.raises(Unavailable) as caught:
        store.write(remote, value, marks_for(value), None)
    assert_silent(caught.value, value, store, remote)
    with pytest.raises(Unavailable):
        list(store.list_managed())
    store.close()
