"""Servers that several adapters' tests share."""

from collections.abc import Iterator

import pytest

from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture
def aws(aws_server: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    local_aws.use(aws_server, monkeypatch)
    return aws_server
