"""The local AWS: held to what AWS documents, keys checked, secrets kept between restarts."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from deployments.healthy import http_status
from local.emulators.aws import LocalAws
from local.support.ports import free_port

pytestmark = pytest.mark.sampled(9, of="file")

REGION = "eu-central-1"
TOKEN = "7f4b2a52-0f6e-4a5e-8a41-3b9f4dd0a001"
OTHER_TOKEN = "7f4b2a52-0f6e-4a5e-8a41-3b9f4dd0a002"
ONE_TRY = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes SDK clients that sign with the key of the server's own file."""
    clients = []

    def client(server: LocalAws, service: Any = "secretsmanager", **more: Any) -> Any:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials))
        made = boto3.Session().client(
            service, region_name=REGION, endpoint_url=server.endpoint_url, config=ONE_TRY, **more
        )
        clients.append(made)
        return made

    yield client
    for made in clients:
        made.close()


@pytest.fixture
def secrets_manager(aws: LocalAws, connect: Callable[..., Any]) -> Any:
    return connect(aws)


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def code_of(call: Callable[..., Any], **request: Any) -> str:
    """The error code that AWS's documentation gives for this."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


# Secrets Manager


def test_moving_the_current_label_moves_what_is_served(secrets_manager: Any, remote: str) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="old", ClientRequestToken=TOKEN)
    secrets_manager.put_secret_value(SecretId=remote, SecretString="new", ClientRequestToken=OTHER_TOKEN)
    secrets_manager.update_secret_version_stage(
        SecretId=remote, VersionStage="AWSCURRENT", MoveToVersionId=TOKEN, RemoveFromVersionId=OTHER_TOKEN
    )
    answer = secrets_manager.get_secret_value(SecretId=remote)
    assert (answer["SecretString"], answer["VersionId"]) == ("old", TOKEN)
    assert secrets_manager.get_secret_value(SecretId=remote, VersionStage="AWSPREVIOUS")["SecretString"] == "new"


@pytest.mark.parametrize("stages", [["AWSCURRENT"], ["AWSPENDING"]])
def test_a_token_is_taken_once_and_for_one_value(secrets_manager: Any, remote: str, stages: list[str]) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="first")
    request = {"SecretId": remote, "ClientRequestToken": TOKEN, "VersionStages": stages}
    secrets_manager.put_secret_value(SecretString="one", **request)
    assert secrets_manager.put_secret_value(SecretString="one", **request)["VersionId"] == TOKEN
    assert code_of(secrets_manager.put_secret_value, SecretString="two", **request) == "ResourceExistsException"
    assert secrets_manager.get_secret_value(SecretId=remote, VersionId=TOKEN)["SecretString"] == "one"


def test_a_rotation_function_gives_its_pending_version_a_value(secrets_manager: Any, remote: str) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="first")
    request = {"SecretId": remote, "ClientRequestToken": TOKEN, "VersionStages": ["AWSPENDING"]}
    secrets_manager.put_secret_value(SecretString="candidate", **request)
    assert secrets_manager.get_secret_value(SecretId=remote)["SecretString"] == "first"


def test_a_value_has_65536_bytes_at_most(secrets_manager: Any, remote: str) -> None:
    whole, too_much = "x" * 65_536, "é" * 32_769
    assert code_of(secrets_manager.create_secret, Name=remote, SecretString=too_much) == "ValidationException"
    secrets_manager.create_secret(Name=remote, SecretString=whole)
    for write in (secrets_manager.put_secret_value, secrets_manager.update_secret):
        assert code_of(write, SecretId=remote, SecretString=too_much) == "ValidationException"
    assert secrets_manager.get_secret_value(SecretId=remote)["SecretString"] == whole


def test_nothing_is_written_to_a_secret_that_is_scheduled_for_deletion(secrets_manager: Any, remote: str) -> None:
    secrets_manager.create_secret(Name=remote, SecretString="v", ClientRequestToken=TOKEN)
    secrets_manager.delete_secret(SecretId=remote)
    same = {"SecretString": "v", "ClientRequestToken": TOKEN}
    tags = [{"Key": "a", "Value": "b"}]
    assert code_of(secrets_manager.create_secret, Name=remote, **same) == "InvalidRequestException"
    assert code_of(secrets_manager.put_secret_value, SecretId=remote, **same) == "InvalidRequestException"
    assert code_of(secrets_manager.tag_resource, SecretId=remote, Tags=tags) == "InvalidRequestException"
    secrets_manager.restore_secret(SecretId=remote)
    assert secrets_manager.get_secret_value(SecretId=remote)["SecretString"] == "v"


# keys


def test_an_unknown_key_is_refused(aws: LocalAws, connect: Callable[..., Any], remote: str) -> None:
    client = connect(aws, aws_access_key_id="AKIA" + "X" * 16, aws_secret_access_key="x")
    assert code_of(client.describe_secret, SecretId=remote) == "UnrecognizedClientException"


def test_a_wrong_secret_access_key_is_refused(aws: LocalAws, connect: Callable[..., Any], remote: str) -> None:
    key = aws.credentials.read_text().split("aws_access_key_id = ")[1].split()[0]
    client = connect(aws, aws_access_key_id=key, aws_secret_access_key="wrong")
    assert code_of(client.describe_secret, SecretId=remote) == "InvalidSignatureException"


def test_a_user_may_do_what_its_policy_allows_and_no_more(
    aws: LocalAws, connect: Callable[..., Any], remote: str
) -> None:
    iam = connect(aws, "iam")
    iam.create_user(UserName="reader")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "secretsmanager:List*", "Resource": "*"}],
    }
    iam.put_user_policy(UserName="reader", PolicyName="may-list", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = connect(aws, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    assert "SecretList" in reader.list_secrets()
    assert code_of(reader.create_secret, Name=remote, SecretString="v") == "AccessDeniedException"


def test_an_unsigned_request_and_the_emulators_control_pages_are_forbidden(aws: LocalAws) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/secretsmanager/aws4_request"}
    assert http_status(aws.port, "/") == 403
    assert http_status(aws.port, "/moto-api/data.json") == 403
    assert http_status(aws.port, "/moto-api/data.json", signed) == 403


# the process


def test_secrets_and_key_outlast_a_restart(tmp_path: Path, connect: Callable[..., Any]) -> None:
    server = LocalAws(tmp_path, free_port())
    with server:
        client = connect(server)
        client.create_secret(
            Name="a/b", SecretString="pässwörd", ClientRequestToken=TOKEN, Tags=[{"Key": "k", "Value": "v"}]
        )
        client.put_secret_value(SecretId="a/b", SecretString="second", ClientRequestToken=OTHER_TOKEN)
        client.create_secret(Name="gone", SecretBinary=b"\xff")
        client.delete_secret(SecretId="gone")
        before = client.describe_secret(SecretId="a/b")
    with server:
        after = client.describe_secret(SecretId="a/b")
        assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
        assert client.get_secret_value(SecretId="a/b")["SecretString"] == "second"
        assert client.get_secret_value(SecretId="a/b", VersionId=TOKEN)["SecretString"] == "pässwörd"
        assert [told["Name"] for told in client.list_secrets()["SecretList"]] == ["a/b"]
        client.restore_secret(SecretId="gone")
        assert client.get_secret_value(SecretId="gone")["SecretBinary"] == b"\xff"


def test_its_files_are_private_and_its_log_holds_no_value(tmp_path: Path, connect: Callable[..., Any]) -> None:
    server = LocalAws(tmp_path / "data", free_port())
    with server:
        client = connect(server)
        client.create_secret(Name="a", SecretString="a-value-to-look-for")
        code_of(client.create_secret, Name="a", SecretString="a-value-to-look-for")
    kept = [path for path in server.directory.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert [path.name for path in kept if "a-value-to-look-for" in path.read_text()] == ["secrets.json"]


def test_it_listens_on_one_loopback_address_only(aws: LocalAws) -> None:
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.2", aws.port))


def run(port: int, data: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "local.emulators.aws", "--port", str(port), "--data", str(data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_says_when_it_is_ready_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    with run(port, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready on http://127.0.0.1:{port}\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_told_in_one_line(aws: LocalAws, tmp_path: Path) -> None:
    with run(aws.port, tmp_path) as process:
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert out == ""
    assert err == f"can't listen on 127.0.0.1:{aws.port}: Address already in use\n"
