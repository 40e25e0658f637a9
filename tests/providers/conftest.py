"""Servers that several adapters' tests share."""

import os
from collections.abc import Iterator

import pytest

from deployments.local.aws import LocalAws
from deployments.local.ports import free_port


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture
def aws(aws_server: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws_server.credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(aws_server.directory / "no-config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return aws_server
