"""One entry of the catalogue for several regions of AWS: a store in each, on the local AWS, apart in all they do."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from keyturn.catalogue import load_catalogue
from keyturn.wiring.registry import open_store
from local.emulators.aws import LocalAws
from tests.contracts.store import fresh_value, put

NEAR, FAR = "aws/eu-central-1", "aws/us-east-1"
KINDS = {
    "aws-secrets-manager": ("secretsmanager", lambda name: {"SecretId": name, "SecretString": "theirs"}),
    "aws-parameter-store": ("ssm", lambda name: {"Name": name, "Value": "theirs", "Overwrite": True}),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stores(kind: str, aws: LocalAws, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What the entry stands for, by name."""
    entry = f"{{kind: {kind}, regions: [eu-central-1, us-east-1], endpoint_url: '{aws.endpoint_url}'}}"
    (tmp_path / "stores.yaml").write_text(f"stores:\n  aws: {entry}\n")
    with ExitStack() as stack:
        opened = {name: open_store(name, settings) for name, settings in load_catalogue(tmp_path, {}).stores.items()}
        yield {name: stack.enter_context(closing(store)) for name, store in opened.items()}  # type: ignore[type-var]


def test_each_region_has_its_own_copy_its_own_changes_and_its_own_name(
    stores: dict[str, Any], kind: str, aws: LocalAws
) -> None:
    assert {name: store.name for name, store in stores.items()} == {NEAR: NEAR, FAR: FAR}
    remote, values = f"keyturn-test-{secrets.token_hex(6)}", {name: fresh_value() for name in stores}
    for name, store in stores.items():
        put(store, remote, values[name])
    assert {name: store.read(remote) for name, store in stores.items()} == values
    service, theirs = KINDS[kind]
    session: Any = boto3.Session()
    with closing(session.client(service, region_name="us-east-1", endpoint_url=aws.endpoint_url)) as client:
        change = client.put_parameter if service == "ssm" else client.put_secret_value
        change(**theirs(remote))
    assert {name: store.describe(remote).intact for name, store in stores.items()} == {NEAR: True, FAR: False}
    stores[FAR].purge(remote)
    assert stores[FAR].describe(remote) is None
    assert stores[NEAR].read(remote) == values[NEAR]
