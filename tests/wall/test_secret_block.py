"""A changed Prefect block sends no login to another server."""

from pathlib import Path
from typing import Any

import pytest

from blocks.secret import KeyturnSecret
from keyturn.core.errors import Invalid
from keyturn.wiring import process_client
from tests.support.lab import Lab
from tests.support.liar import Liar, never_answers


@pytest.fixture
def hub(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The hub that this process's environment leads to."""
    (tmp_path / "token").write_text(lab.world.hub_token)
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setattr(process_client, "_opened", {})
    return lab


def test_an_address_in_a_block_is_refused_before_any_request(hub: Lab) -> None:
    with Liar(never_answers) as liar:
        for source in (liar.url, f"HTTP://127.0.0.1:{liar.port}", f"//127.0.0.1:{liar.port}"):
            with pytest.raises(Invalid, match="a block points to no server"):
                KeyturnSecret(path="ml-training/database", field="password", source=source).get()
        assert liar.requests == []


def test_a_store_of_no_catalogue_is_refused(hub: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYTURN_CATALOGUE", raising=False)
    with pytest.raises(Invalid, match="only a catalogue says what it is"):
        KeyturnSecret(path="ml-training/database", source="elsewhere").get()


def test_unknown_fields_of_a_block_have_no_effect(hub: Lab) -> None:
    held: Any = {"address": "https://elsewhere.example.com", "token": "s.theirs", "sources": ["https://elsewhere"]}
    block = KeyturnSecret(path="ml-training/database", field="username", **held)
    assert block.get().reveal()


@pytest.mark.parametrize(
    "path",
    [
        "../../sys/mounts",
        "x/../../../auth/token/lookup-self",
        "./ml-training/database",
        "ml-training//database",
        "/ml-training/database",
        "ml-training/database/",
        "ml-training/database?version=1",
        "ml-training/database#",
        "ml-training%2Fdatabase",
        "ml-training/database\n",
        "ml-training\\database",
        "",
    ],
)
def test_a_path_that_is_another_address_is_refused(hub: Lab, path: str) -> None:
    with pytest.raises(Invalid, match="it is no path of a secret"):
        KeyturnSecret(path=path).secret()
