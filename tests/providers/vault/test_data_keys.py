"""Data keys by the hub's transit engine: the contract against OpenBao, with the least rights, and its refusals."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hvac
import pytest
from pytest_httpserver import HTTPServer

from keyturn.core.errors import Denied, Unavailable
from keyturn.core.ports.envelope import DataKeys, SealRefused
from keyturn.providers.vault.engines.data_keys import TransitDataKeys
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.support.ports import free_port
from tests.contracts.data_keys import CONTEXT, DataKeysContract
from tests.support.lab import Lab, fresh

RIGHTS = """
path "transit/encrypt/{key}" {{ capabilities = ["update"] }}
path "transit/decrypt/{key}" {{ capabilities = ["update"] }}
"""


@pytest.fixture
def key(lab: Lab) -> str:
    name = fresh()
    lab.root.secrets.transit.create_key(name)
    return name


@pytest.fixture
def as_application(lab: Lab, tmp_path: Path) -> Iterator[Callable[[str], TransitDataKeys]]:
    """Opens a key as a login that may use it, and nothing else."""
    opened: list[TransitDataKeys] = []

    def make(key: str) -> TransitDataKeys:
        root = hvac.Client(url=lab.world.hub_address, token=lab.world.hub_token)
        root.sys.create_or_update_policy(key, RIGHTS.format(key=key))
        file = tmp_path / key
        file.write_text(root.auth.token.create(policies=[key])["auth"]["client_token"])
        opened.append(TransitDataKeys(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(file))), key))
        return opened[-1]

    yield make
    for keys in opened:
        keys.close()


class TestTransitDataKeys(DataKeysContract):
    """The contract, with the least rights."""

    @pytest.fixture
    def keys(self, as_application: Callable[[str], TransitDataKeys], key: str) -> DataKeys:
        return as_application(key)

    @pytest.fixture
    def other(self, lab: Lab, as_application: Callable[[str], TransitDataKeys]) -> DataKeys:
        name = fresh()
        lab.root.secrets.transit.create_key(name)
        return as_application(name)

    @pytest.fixture
    def rotate(self, lab: Lab, key: str) -> Callable[[], object]:
        return lambda: lab.root.secrets.transit.rotate_key(key)

    def test_a_generation_that_was_retired_opens_nothing(
        self, lab: Lab, keys: DataKeys, key: str, rotate: Callable[[], object]
    ) -> None:
        old = keys.make(CONTEXT)
        rotate()
        lab.root.secrets.transit.update_key_configuration(key, min_decryption_version=2)
        with pytest.raises(SealRefused, match="refuses to unwrap"):
            keys.unwrap(old.wrapped, CONTEXT)


def test_a_login_without_the_right_is_told_the_path(
    as_application: Callable[[str], TransitDataKeys], key: str, lab: Lab
) -> None:
    keys = as_application(key)
    lab.root.sys.create_or_update_policy(key, 'path "none" { capabilities = ["read"] }')
    with pytest.raises(Denied, match=f"transit/encrypt/{key}"):
        keys.make(CONTEXT)


def test_an_answer_that_no_transit_engine_gives_is_not_taken(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANY_TOKEN", "any")
    httpserver.expect_request("/v1/auth/token/lookup-self").respond_with_json({"data": {"ttl": 0, "renewable": False}})
    httpserver.expect_request("/v1/transit/encrypt/k").respond_with_json({"data": {"ciphertext": "plain"}})
    httpserver.expect_request("/v1/transit/decrypt/k").respond_with_json({"data": {"plaintext": "c2hvcnQ="}})
    keys = TransitDataKeys(HubSettings(httpserver.url_for("").rstrip("/"), login=TokenLogin("ANY_TOKEN")), "k")
    with pytest.raises(Unavailable, match="not what its transit engine gives"):
        keys.make(CONTEXT)
    with pytest.raises(Unavailable, match="not what its transit engine gives"):
        keys.unwrap("vault:v1:AAAA", CONTEXT)
    keys.close()


def test_a_hub_that_is_away_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANY_TOKEN", "any")
    keys = TransitDataKeys(HubSettings(f"http://127.0.0.1:{free_port()}", login=TokenLogin("ANY_TOKEN")), "k")
    with pytest.raises(Unavailable):
        keys.unwrap("vault:v1:AAAA", CONTEXT)
    keys.close()
