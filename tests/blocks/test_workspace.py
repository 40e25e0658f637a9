"""The workspace block names a workspace; only the environment names the hub."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from blocks.workspace import KeyturnWorkspace, WorkspaceSettings
from keyturn.core.errors import Invalid
from tasks.workspace import current_workspace, opened
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer

ELSEWHERE = "https://elsewhere.example.com:8200"


@pytest.fixture
def environment(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkspaceSettings:
    """What leads this process to a workspace without a secret."""
    (tmp_path / "empty.yaml").write_text("secrets: {}\n")
    (tmp_path / "token").write_text(lab.world.hub_token)
    leading = {"VAULT_ADDR": lab.world.hub_address, "KEYTURN_CATALOGUE": str(tmp_path)}
    for name, value in (leading | {"KEYTURN_HUB_TOKEN_FILE": str(tmp_path / "token")}).items():
        monkeypatch.setenv(name, value)
    return WorkspaceSettings.from_environment(os.environ)


def test_a_process_opens_what_its_environment_says_and_once(
    environment: WorkspaceSettings, lab: Lab, tmp_path: Path
) -> None:
    workspace = current_workspace()
    assert workspace.hub.settings == environment.hub  # type: ignore[attr-defined]
    assert (environment.hub.address, environment.catalogue) == (lab.world.hub_address, tmp_path)
    assert workspace.hub.read("nothing/there") is None
    assert current_workspace() is workspace is opened(environment)


def test_without_a_catalogue_or_a_hub_it_says_which_variable(
    environment: WorkspaceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("KEYTURN_CATALOGUE", "VAULT_ADDR"):
        monkeypatch.delenv(variable)
        with pytest.raises(Invalid, match=f"{variable} is not set"):
            current_workspace()
        monkeypatch.setenv(variable, ELSEWHERE)


def test_one_process_opens_a_workspace_from_within_a_running_loop_as_well(environment: WorkspaceSettings) -> None:
    async def inside() -> bool:
        return await asyncio.to_thread(current_workspace) is current_workspace()

    assert asyncio.run(inside())


def test_a_block_names_a_workspace_and_nothing_that_it_holds_besides_leads_anywhere(
    prefect: PrefectServer, environment: WorkspaceSettings, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"w{fresh()[-8:]}".replace("/", "-")
    KeyturnWorkspace(workspace=name).save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    (document,) = prefect.all("block_documents", block_documents={"name": {"any_": [name]}}, include_secrets=True)
    assert document["data"] == {"workspace": name}
    # What a block of an earlier version holds, or whoever may write to the API puts there.
    held = {"workspace": name, "address": ELSEWHERE, "catalogue": "/elsewhere", "token_env": "PATH"}
    prefect.patch(f"block_documents/{document['id']}", data=held, merge_existing_data=False)
    block: Any = KeyturnWorkspace.load(name, _sync=True)  # type: ignore[call-arg]
    with pytest.raises(Invalid, match=f"the block names {name}, and this process's environment is of default"):
        block.open()
    monkeypatch.setenv("KEYTURN_WORKSPACE", name)
    assert block.open().hub.settings == environment.hub
    assert lab.world.hub_token not in json.dumps(document)
