"""Servers and certificates that several stores' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws


@pytest.fixture(scope="package")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@pytest.fixture
def aws(aws_server: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    local_aws.use(aws_server, monkeypatch)
    return aws_server


@pytest.fixture(scope="package")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate for loopback, its key, and the authority that signed it."""
    where = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(where / "ca.pem")
    issued.private_key_pem.write_to_path(where / "key.pem")
    issued.cert_chain_pems[0].write_to_path(where / "cert.pem")
    return where
