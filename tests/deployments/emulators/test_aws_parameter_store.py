"""The local AWS: parameters behave as AWS Systems Manager documents them, and outlast a restart."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
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


def client(aws: LocalAws, **signing: Any) -> Any:
    return boto3.Session().client("ssm", region_name=REGION, endpoint_url=aws.endpoint_url, config=ONE_TRY, **signing)


@pytest.fixture(scope="module")
def ssm(aws: LocalAws) -> Iterator[Any]:
    with closing(client(aws)) as opened:
        yield opened


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def described(ssm: Any, remote: str) -> dict[str, Any]:
    told: dict[str, Any] = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [remote]}])
    assert [parameter["Name"] for parameter in told["Parameters"]] == [remote]
    found: dict[str, Any] = told["Parameters"][0]
    return found


def code_of(call: Callable[..., Any], **request: Any) -> str:
    """The error code that AWS's documentation gives for this."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_overwriting_counts_versions_and_keeps_a_description_that_is_not_given(ssm: Any, remote: str) -> None:
    request = {"Name": remote, "Type": "SecureString"}
    assert ssm.put_parameter(**request, Value="a", Description="one")["Version"] == 1
    assert code_of(ssm.put_parameter, **request, Value="b") == "ParameterAlreadyExists"
    assert ssm.put_parameter(**request, Value="a", Overwrite=True)["Version"] == 2
    assert described(ssm, remote)["Description"] == "one"
    ssm.put_parameter(**request, Value="b", Overwrite=True, Description="three")
    told = described(ssm, remote)
    assert (told["Description"], told["Version"], told["Type"]) == ("three", 3, "SecureString")
    assert "Value" not in told


def test_a_parameter_made_again_begins_with_version_1(ssm: Any, remote: str) -> None:
    for value in ("a", "b"):
        ssm.put_parameter(Name=remote, Value=value, Type="String", Overwrite=True)
    ssm.delete_parameter(Name=remote)
    assert code_of(ssm.delete_parameter, Name=remote) == "ParameterNotFound"
    assert ssm.put_parameter(Name=remote, Value="c", Type="String", Overwrite=True)["Version"] == 1


@pytest.mark.parametrize(
    ("tier", "most"), [("Standard", 4_096), ("Advanced", 8_192), ("Intelligent-Tiering", 8_192)], ids=str
)
def test_a_value_has_as_many_bytes_as_its_tier_takes(ssm: Any, tier: str, most: int) -> None:
    request = {"Name": f"sized-{tier}", "Type": "String", "Tier": tier}
    assert code_of(ssm.put_parameter, **request, Value="é" * (most // 2) + "x") == "ValidationException"
    ssm.put_parameter(**request, Value="é" * (most // 2))
    assert ssm.get_parameter(Name=f"sized-{tier}")["Parameter"]["Value"] == "é" * (most // 2)


def test_intelligent_tiering_takes_the_advanced_tier_where_it_is_needed_and_keeps_it(ssm: Any, remote: str) -> None:
    request = {"Name": remote, "Type": "String", "Overwrite": True}
    tiers = [
        ssm.put_parameter(**request, Value="x" * size, Tier="Intelligent-Tiering")["Tier"] for size in (1, 5_000, 1)
    ]
    assert tiers == ["Standard", "Advanced", "Advanced"]
    assert described(ssm, remote)["Tier"] == "Advanced"
    assert code_of(ssm.put_parameter, **request, Value="x", Tier="Standard") == "ValidationException"


def test_no_value_refers_to_another_parameter(ssm: Any, remote: str) -> None:
    request = {"Name": remote, "Type": "String"}
    assert code_of(ssm.put_parameter, **request, Value="a {{ssm:other}}") == "ValidationException"
    ssm.put_parameter(**request, Value="{ {x} }")


def test_only_the_very_name_is_found(ssm: Any, remote: str) -> None:
    for name in (remote, f"{remote}-longer", f"/{remote}/part"):
        ssm.put_parameter(Name=name, Value="v", Type="String")
        described(ssm, name)
    for name in (remote[:-1], f"/{remote}/par"):
        assert not ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"]


def test_an_unknown_key_is_refused(aws: LocalAws, remote: str) -> None:
    with closing(client(aws, aws_access_key_id="AKIA" + "X" * 16, aws_secret_access_key="x")) as stranger:
        assert code_of(stranger.get_parameter, Name=remote) == "UnrecognizedClientException"


def test_parameters_outlast_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalAws(tmp_path, free_port())
    with server:
        local_aws.use(server, monkeypatch)
        opened = client(server)
        opened.put_parameter(
            Name="/a/b", Value="pässwörd", Type="SecureString", Description="d", Tags=[{"Key": "k", "Value": "v"}]
        )
        opened.put_parameter(Name="/a/b", Value="second", Overwrite=True)
        opened.put_parameter(Name="gone", Value="x", Type="String")
        opened.delete_parameter(Name="gone")
        before = described(opened, "/a/b")
    with server, closing(opened):
        assert described(opened, "/a/b") == before
        assert opened.get_parameter(Name="/a/b", WithDecryption=True)["Parameter"]["Value"] == "second"
        history = opened.get_parameter_history(Name="/a/b", WithDecryption=True)["Parameters"]
        assert [version["Value"] for version in history] == ["pässwörd", "second"]
        tags = opened.list_tags_for_resource(ResourceType="Parameter", ResourceId="/a/b")["TagList"]
        assert tags == [{"Key": "k", "Value": "v"}]
        assert len(opened.describe_parameters()["Parameters"]) == 1


def test_a_directory_of_secrets_alone_is_opened_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalAws(tmp_path, free_port())
    (tmp_path / "secrets.json").write_text(json.dumps({"secrets": []}))
    with server:
        local_aws.use(server, monkeypatch)
        with closing(client(server)) as opened:
            assert opened.describe_parameters()["Parameters"] == []
