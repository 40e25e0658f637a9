"""Backups and restore tests as Prefect flows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.backup import backup
from flows.restore_drill import restore_drill
from flows.support.duties import restoring
from keyturn.ledger.entries import parse_leaf
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.recovery.chains import list_chains
from keyturn.recovery.drill_notes import RESTORE_DRILL, parse_note
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.recovery.conftest import make_recovery_key
from tests.support.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.sampled(2, of="file")]


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("scratch"), free_port(), dev=True) as server:
        yield server


@pytest.fixture
def declared(lab: Lab, scratch: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's file of a worker of the queue `backup`, and its login; where its backups lie."""
    for name, text in (("scratch.token", scratch.root_token), ("token", lab.world.hub_token)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    backups = {
        "place": {"kind": "directory", "directory": str(tmp_path / "backups")},
        "keys": [f"x25519:{make_recovery_key(tmp_path / 'recovery.pem')}"],
        "restore_drill": {"hub": scratch.address, "token_file": str(tmp_path / "scratch.token")},
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"backups": backups}))
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(tmp_path / "token"))
    return tmp_path / "backups"


def page_of(installed: Installed, state: Any) -> dict[str, Any]:
    """The page that a run has left."""
    run = str(state.state_details.flow_run_id)
    (page,) = installed.server.all("artifacts", artifacts={"flow_run_id": {"any_": [run]}})
    return dict(page)


@pytest.mark.attack
def test_a_run_backs_up_and_another_shows_that_it_comes_back(
    declared: Path, installed: Installed, build: Callable[..., Site], lab: Lab
) -> None:
    secret = lab.generated()
    site = build(secret)
    made = ended(backup)
    assert made.is_completed(), made.message
    (chain,) = list_chains(BackupDirectory(declared))
    assert str(made.message).startswith(f"{chain.name}/0: ")
    drilled = ended(restore_drill)
    assert drilled.is_completed(), drilled.message
    ledger: Any = site.workspace.ledger
    told = [entry for _, leaf in ledger.leaves() if (entry := parse_leaf(leaf).entry).action == RESTORE_DRILL]
    note = parse_note(told[-1].note)
    assert note is not None
    assert (note.proven, note.backup, note.words) == (True, f"{chain.name}/0", str(drilled.message))
    pages = [page_of(installed, state) for state in (made, drilled)]
    assert [page["key"] for page in pages] == ["backup", "restore-drill"]
    value = site.workspace.hub.read(secret.path)
    assert value is not None
    shown = "".join(page["data"] for page in pages) + str(made.message) + str(drilled.message)
    words = [word for field in value.fields.reveal().values() if len(word := str(field)) > 7]
    assert words
    assert not [word for word in words if word in shown]


async def test_the_keeper_asks_for_a_drill_where_the_operator_declares_one(
    declared: Path, build: Callable[..., Site], lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [wanted.flow for wanted in await restoring(build(lab.generated()).workspace)] == ["restore-drill"]
    monkeypatch.delenv("KEYTURN_POLICY")
    assert await restoring(build(lab.generated()).workspace) == []
