"""The secret block: each process reads the value itself, and Prefect never has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.secret import KeyturnSecret
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.sensitive import SecretFields
from keyturn.wiring import process_client
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer


@pytest.fixture
def path(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret that this process's environment leads to."""
    (tmp_path / "token").write_text(lab.world.hub_token)
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setattr(process_client, "_opened", {})
    path = f"{fresh()}/database"
    lab.hub.write(path, SecretFields({"username": "trainer", "password": "CANARY-of-the-block", "port": 5432}), cas=0)
    return path


async def test_it_is_used_as_prefects_own_secret_is_and_holds_names_alone(prefect: PrefectServer, path: str) -> None:
    name = fresh().replace("_", "-").replace("/", "-")
    await KeyturnSecret(path=path, field="password").save(name)
    block: Any = await KeyturnSecret.load(name)
    assert (await block.aget()).reveal() == block.get().reveal() == "CANARY-of-the-block"
    secret = await block.asecret()
    assert (secret["username"].reveal(), secret.version, secret.source) == ("trainer", 1, "hub")
    (document,) = prefect.all("block_documents", block_documents={"name": {"any_": [name]}}, include_secrets=True)
    assert document["data"] == {"path": path, "field": "password", "source": ""}
    assert "CANARY" not in json.dumps(document) + repr(block) + str(vars(block)) + block.model_dump_json()


def test_a_process_reads_it_once_whoever_asks(path: str) -> None:
    blocks = [KeyturnSecret(path=path, field="username") for _ in range(3)]
    assert {block.get().reveal() for block in blocks} == {"trainer"}
    (client,) = process_client._opened.values()
    assert client.statistics.shown()["reads"] == 1


def test_a_field_has_to_be_named_where_there_are_several(path: str, lab: Lab) -> None:
    with pytest.raises(Invalid, match=r"several fields, and the block names none.*password, port, username"):
        KeyturnSecret(path=path).get()
    with pytest.raises(Invalid, match="it has no field token"):
        KeyturnSecret(path=path, field="token").get()
    with pytest.raises(NotFound):
        KeyturnSecret(path=f"{path}-none").get()
    lab.hub.write(f"{path}-single", SecretFields({"value": "alone"}), cas=0)
    assert KeyturnSecret(path=f"{path}-single", source="hub").get().reveal() == "alone"


def test_what_a_source_says_that_nobody_foresaw_is_not_repeated(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: str) -> None:
        raise RuntimeError("CANARY in an SDK's own words")

    monkeypatch.setattr(process_client, "process_client", fail)
    with pytest.raises(KeyturnError, match="unexpected RuntimeError") as caught:
        KeyturnSecret(path=path, field="password").get()
    assert "CANARY" not in str(caught.value)
    assert caught.value.__suppress_context__
