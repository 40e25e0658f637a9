"""The workspace block: everything that a worker needs, and no credential."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from blocks.workspace import OWN_LOGIN, KeyturnWorkspace
from keyturn.core.errors import NotFound
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, TokenLogin
from tasks.workspace import current_workspace, opened
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer
from tests.support.world import TOKEN_VARIABLE

SETTINGS = HubSettings(
    "https://hub.example.com:8200",
    mount="kv",
    state_mount="state",
    namespace="team",
    ca_file="/etc/ca.pem",
    login=AppRoleLogin("/run/role-id", "/run/secret-id", mount="roles"),
    lease_token_role="leases",
    transit_mount="keys",
    client_cert_file="/etc/client.pem",
    client_key_file="/etc/client.key",
    tls_server_name="hub.internal",
    insecure_http=True,
)


def test_every_setting_of_the_hub_is_one_of_the_block(tmp_path: Path) -> None:
    block = KeyturnWorkspace.from_settings(tmp_path, SETTINGS)
    fields = {field.name for field in dataclasses.fields(HubSettings)}
    assert block.model_dump(include=fields) == dataclasses.asdict(SETTINGS) | {"login": block.login}
    assert fields <= set(KeyturnWorkspace.model_fields)


def test_it_comes_back_from_the_server_as_it_went_and_opens(
    prefect: PrefectServer, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.yaml").write_text("secrets: {}\n")
    name, token = fresh(), lab.world.hub_token
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE))
    KeyturnWorkspace.from_settings(tmp_path, settings).save(name, _sync=True)  # type: ignore[call-arg]
    monkeypatch.setenv("KEYTURN_WORKSPACE", name)
    workspace = current_workspace()
    assert workspace.hub.read("nothing/there") is None
    assert workspace.hub.settings == settings  # type: ignore[attr-defined]
    assert current_workspace() is workspace

    documents = prefect.all("block_documents", block_documents={"name": {"any_": [name]}}, include_secrets=True)
    assert documents[0]["data"]["login"]["env"] == TOKEN_VARIABLE
    assert token not in json.dumps(documents)


def test_a_block_that_is_not_there_tells_how_to_make_it(prefect: PrefectServer) -> None:
    name = fresh()
    with pytest.raises(NotFound) as told:
        opened(name)
    problem = f"load keyturn-workspace/{name}: the Prefect server has no such block"
    assert str(told.value) == f"{problem}. Run `keyturn bootstrap --workspace {name}` once"


def test_one_process_opens_a_workspace_from_within_a_running_loop_as_well(
    prefect: PrefectServer, lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "empty.yaml").write_text("secrets: {}\n")
    name = fresh()
    block = KeyturnWorkspace.from_settings(
        tmp_path, HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE))
    )
    block.save(name, _sync=True)  # type: ignore[call-arg]

    async def inside() -> bool:
        return await asyncio.to_thread(opened, name) is opened(name)

    assert asyncio.run(inside())


def test_a_worker_with_a_login_of_its_own_uses_that_and_no_part_of_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.yaml").write_text("secrets: {}\n")
    block = KeyturnWorkspace.from_settings(tmp_path, SETTINGS)
    for variable in OWN_LOGIN:
        monkeypatch.delenv(variable, raising=False)
    assert block.open().hub.settings == SETTINGS  # type: ignore[attr-defined]
    monkeypatch.setenv("KEYTURN_HUB_ROLE_ID_FILE", "/run/own-role-id")
    monkeypatch.setenv("KEYTURN_HUB_SECRET_ID_FILE", "/run/own-secret-id")
    own = dataclasses.replace(SETTINGS, login=AppRoleLogin("/run/own-role-id", "/run/own-secret-id"))
    assert block.open().hub.settings == own  # type: ignore[attr-defined]
