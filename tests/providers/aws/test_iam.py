"""AWS IAM as a target: which error an answer becomes, and that nothing is made twice."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.catalogue.targets import AwsIamSettings
from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws.iam import AwsIam, answered_at, revoking
from local.emulators.aws import LocalAws
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(4, of="file")

REGION = "us-east-1"
SECRET = "a-secret-access-key-to-look-for"


@pytest.fixture
def iam(aws: LocalAws) -> Iterator[Any]:
    with closing(boto3.Session().client("iam", region_name=REGION, endpoint_url=aws.endpoint_url)) as client:
        yield client


@pytest.fixture
def target(aws: LocalAws) -> Iterator[AwsIam]:
    with closing(AwsIam("aws", region=REGION, endpoint_url=aws.endpoint_url)) as opened:
        yield opened


def answering(httpserver: HTTPServer, code: str, status: int) -> AwsIam:
    """The target, at a server that refuses everything so."""
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{SECRET}</Message></Error></ErrorResponse>"
    httpserver.expect_request("/").respond_with_data(body, status=status, content_type="text/xml")
    return AwsIam("aws", region=REGION, endpoint_url=httpserver.url_for(""))


def test_it_takes_the_catalogues_settings(aws: LocalAws) -> None:
    settings = AwsIamSettings.model_validate({"kind": "aws-iam", "endpoint_url": aws.endpoint_url})
    with closing(AwsIam("aws", **settings.model_dump(exclude={"kind"}))) as target, pytest.raises(NotFound):
        target.keys("nobody")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, Denied),
        ("EntityTemporarilyUnmodifiable", 409, Locked),
        ("ConcurrentModification", 409, Locked),
        ("InvalidClientTokenId", 403, Denied),
        ("ServiceFailure", 500, Unavailable),
        ("Throttling", 400, Throttled),
        ("ValidationError", 400, Invalid),
    ],
)
def test_an_answer_becomes_an_error_of_ours_without_its_text(
    aws: LocalAws, httpserver: HTTPServer, code: str, status: int, kind: type[KeyturnError]
) -> None:
    with closing(answering(httpserver, code, status)) as target, pytest.raises(kind, match="aws:app") as caught:
        target.create("app")
    assert code in str(caught.value)
    assert SECRET not in repr(caught.value.args)
    assert caught.value.__suppress_context__


def test_a_missing_permission_is_named(aws: LocalAws, httpserver: HTTPServer) -> None:
    with closing(answering(httpserver, "AccessDenied", 403)) as target:
        for call, permission in (
            (lambda: target.keys("app"), "iam:ListAccessKeys"),
            (lambda: target.create("app"), "iam:CreateAccessKey"),
            (lambda: target.end("app", "AKIAXXXXXXXXXXXXXXXX"), "iam:UpdateAccessKey"),
        ):
            with pytest.raises(Denied) as caught:
                call()
            assert permission in caught.value.hint


def test_a_key_is_asked_for_once_although_the_answer_was_lost(aws: LocalAws, httpserver: HTTPServer) -> None:
    asked: list[str] = []

    def lose(request: Request) -> Response:
        asked.append(request.form["Action"])
        return Response(status=503)

    httpserver.expect_request("/").respond_with_handler(lose)
    target = AwsIam("aws", region=REGION, endpoint_url=httpserver.url_for(""))
    with closing(target), pytest.raises(Unavailable):
        target.create("app")
    assert asked == ["CreateAccessKey"]


def test_no_server_is_unavailable(aws: LocalAws) -> None:
    with closing(AwsIam("aws", region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}")) as target:
        with pytest.raises(Unavailable) as caught:
            target.keys("app")
        assert caught.value.hint
        with pytest.raises(Unavailable):
            target.signs_in("app", SecretFields({"access_key_id": "AKIA" + "X" * 16, "secret_access_key": SECRET}))


def test_a_malformed_endpoint_is_invalid() -> None:
    with pytest.raises(Invalid, match="malformed"):
        AwsIam("aws", endpoint_url="not a url")


def test_keys_are_listed_with_date_and_state(target: AwsIam, iam: Any) -> None:
    user = f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=user)
    first, second = (iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"] for _ in range(2))
    iam.update_access_key(UserName=user, AccessKeyId=second, Status="Inactive")
    listed = {key.key_id: key for key in target.keys(user)}
    assert (listed[first].active, listed[second].active) == (True, False)
    assert abs((datetime.now(UTC) - listed[first].created).total_seconds()) < 60


def test_what_is_gone_is_ended_already(target: AwsIam, iam: Any) -> None:
    user = f"user-{secrets.token_hex(4)}"
    target.end(user, "AKIA" + "X" * 16)
    iam.create_user(UserName=user)
    target.end(user, "AKIA" + "X" * 16)


def cutting(httpserver: HTTPServer, refusal: Response) -> tuple[AwsIam, list[str]]:
    """The target, at a server that ends keys, and refuses to let sessions be revoked; and what it was asked for."""
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(request.form["Action"])
        if asked[-1] == "PutUserPolicy":
            return refusal
        return Response(f"<{asked[-1]}Response/>", content_type="text/xml")

    httpserver.expect_request("/").respond_with_handler(answer)
    return AwsIam("aws", region=REGION, endpoint_url=httpserver.url_for("")), asked


def test_sessions_that_can_not_be_revoked_are_told_of_with_the_reason(aws: LocalAws, httpserver: HTTPServer) -> None:
    """Such as a user whose inline policies have no room left; the key ends all the same."""
    body = f"<ErrorResponse><Error><Code>LimitExceeded</Code><Message>{SECRET}</Message></Error></ErrorResponse>"
    target, asked = cutting(httpserver, Response(body, status=409, content_type="text/xml"))
    with closing(target):
        told, roles = target.revoke("app", "AKIA" + "X" * 16, 6)
    assert asked == ["UpdateAccessKey", "PutUserPolicy", "DeleteAccessKey"]
    assert "LimitExceeded" in told
    assert "36 hours" in told
    assert "12 hours" in roles
    assert SECRET not in told


def test_sessions_are_tried_again_where_aws_did_not_answer_once(aws: LocalAws, httpserver: HTTPServer) -> None:
    target, asked = cutting(httpserver, Response(status=503))
    with closing(target), pytest.raises(Unavailable):
        target.revoke("app", "AKIA" + "X" * 16, 6)
    assert asked[0] == "UpdateAccessKey"
    assert "DeleteAccessKey" not in asked


def test_sessions_are_revoked_by_the_clock_of_aws(aws: LocalAws) -> None:
    said = {"ResponseMetadata": {"HTTPHeaders": {"date": "Wed, 25 Nov 2026 03:04:05 GMT"}}}
    at = answered_at(said)
    assert at == datetime(2026, 11, 25, 3, 4, 5, tzinfo=UTC)
    (statement,) = revoking(at, 12)["Statement"]
    assert statement["Condition"] == {"DateLessThan": {"aws:TokenIssueTime": "2026-11-25T03:04:05Z"}}
    answers: Any = ({"ResponseMetadata": {}}, {"ResponseMetadata": {"HTTPHeaders": {"date": "today"}}})
    for silent in answers:
        assert abs((answered_at(silent) - datetime.now(UTC)).total_seconds()) < 60


def test_nothing_is_logged_of_a_new_key_at_any_level(
    target: AwsIam, iam: Any, caplog: pytest.LogCaptureFixture
) -> None:
    user = f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=user)
    with caplog.at_level("DEBUG"):
        key = target.create(user)
        assert target.signs_in(user, key)
    assert caplog.records
    assert key["secret_access_key"].reveal() not in caplog.text
