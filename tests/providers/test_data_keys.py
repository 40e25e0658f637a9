"""Keys that wrap data keys, by their names: what each is opened as, and what is said of a name that opens none."""

import sys
from pathlib import Path

import boto3
import pytest

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.providers.data_keys import open_envelope
from local.emulators.aws import LocalAws
from tests.contracts.data_keys import CONTEXT
from tests.support import local_aws
from tests.support.lab import Lab, fresh
from tests.support.offline import add_generation

TEXT = Sensitive("what is sealed")
REGION = "eu-central-1"


@pytest.fixture
def in_file(tmp_path: Path) -> str:
    add_generation(tmp_path / "key")
    return f"file:{tmp_path / 'key'}"


@pytest.fixture
def in_transit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> str:
    key = fresh()
    lab.root.secrets.transit.create_key(key)
    monkeypatch.setenv("VAULT_ADDR", "https://hub.example:8200")
    monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca or "")
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    return f"transit:{key}@{lab.world.hub_address}"


@pytest.fixture
def in_kms(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in local_aws.key_of(aws).items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", aws.endpoint_url)
    return "kms:" + str(boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["Arn"])


@pytest.mark.parametrize("place", ["in_file", "in_transit", "in_kms"])
def test_what_was_sealed_by_a_name_is_opened_by_it(place: str, request: pytest.FixtureRequest) -> None:
    name = request.getfixturevalue(place)
    sealed = open_envelope(name).seal(TEXT, CONTEXT)
    assert open_envelope(name).open(sealed, CONTEXT) == TEXT


@pytest.mark.parametrize("name", ["/etc/ml/keyturn.key", "file:", "vault:key", ""])
def test_a_name_of_no_key_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(Invalid, match="it is the name of no key") as refused:
        open_envelope(name)
    assert "file:PATH, kms:ARN, azure:https://VAULT/keys/NAME or transit:NAME" in refused.value.hint


def test_what_is_missing_for_a_key_is_said_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="its region is unknown"):
        open_envelope("kms:alias/offline", {})
    with pytest.raises(Invalid, match="it can't be read"):
        open_envelope(f"file:{tmp_path / 'nothing'}")
    with pytest.raises(Invalid, match="VAULT_ADDR is not set"):
        open_envelope("transit:offline", {})
    monkeypatch.setitem(sys.modules, "keyturn.providers.aws.data_keys", None)
    with pytest.raises(Invalid) as refused:
        open_envelope("kms:alias/offline", {"AWS_REGION": REGION})
    assert refused.value.hint == "Install keyturn[aws]"
