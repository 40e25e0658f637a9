"""`keyturn repair recover`, and what other commands report after a hub lost versions."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.restored import RestoredMark, read_mark
from tests.support.lab import Declared, Lab
from tests.support.world import World

runner = CliRunner()


def run(*arguments: str) -> Result:
    """One command."""
    return runner.invoke(app, arguments)


@pytest.fixture
def shop(lab: Lab, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """A generated secret at version 3, with a copy in a file; then the hub is at version 1 of before."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("COLUMNS", "200")
    secret = lab.generated()
    copies = {"kind": "file", "directory": str(tmp_path / "copies")}
    declared = {**secret.data, "destinations": [{"store": "files", "name": "shop"}]}
    data: dict[str, Any] = {"stores": {"files": copies}, "secrets": {secret.path: declared}}
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump(data))
    for _ in range(2):
        assert run("rotate", secret.path, "--now", "--local").exit_code == 0
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(secret.path)
    lab.root.secrets.kv.v2.create_or_update_secret(secret.path, secret.first)
    return secret


def told(done: Result) -> str:
    """All that a command said, without line breaks."""
    return " ".join((done.stdout + done.stderr).split())


def test_every_command_names_what_is_ahead_and_recover_puts_it_right(shop: Declared, tmp_path: Path, lab: Lab) -> None:
    path, copy = shop.path, tmp_path / "copies" / "shop"
    kept = copy.read_text()
    for command in (("plan",), ("status",), ("sync", "--local", "--json"), ("plan", "--json")):
        assert f"THE HUB IS BEHIND: it has lost newer versions of {path}, or their end, as after" in told(
            run(*command)
        ), command
    assert f"the hub is at version 1 of {path}" in told(run("doctor", "--all"))
    for command in (("plan",), ("sync", "--local"), ("status",), ("due", "--check"), ("rotate", path, "--local")):
        done = run(*command)
        if command[0] not in ("status", "rotate"):
            assert done.exit_code in (1, 3), (command, told(done))
        if command[0] != "rotate":
            assert f"the hub is at version 1 of {path}" in told(done), command
            assert f"keyturn repair recover {path}" in told(done), command
    assert copy.read_text() == kept

    done = run("repair", "recover", "--dry-run")
    assert done.exit_code == 1
    assert "no login can test" in told(done)
    assert "--untested" in told(done)
    done = run("repair", "recover", path, "--dry-run", "--untested", "--json")
    rows = json.loads(done.stdout)["secrets"][0]["values"]
    assert [(row["place"], row["version"], row["works"]) for row in rows] == [
        ("the hub", 1, None),
        ("files:shop", 3, None),
    ] or [(row["place"], row["version"]) for row in rows] == [("files:shop", 3), ("the hub", 1)]
    assert copy.read_text() == kept


@pytest.fixture
def mark(lab: Lab) -> Iterator[RestoredMark]:
    """The hub says that it was restored, and nobody has recovered since."""
    mark = RestoredMark("20260301T120000Z-0a1b2c3d", 7, lab.hub.now() - timedelta(hours=1), lab.hub.now(), whole=True)
    lab.keep(RESTORED, mark.to_data())
    yield mark
    lab.hub.delete_state(RESTORED)


@pytest.mark.attack
def test_a_restored_hub_says_so_until_all_that_may_know_more_was_looked_at_and_brought_back(
    shop: Declared, mark: RestoredMark, tmp_path: Path, lab: Lab
) -> None:
    assert run("repair", "recover", "--yes").exit_code == 1, "unknown which value works"
    assert run("repair", "recover", shop.path, "--yes", "--untested").exit_code == 0
    assert read_mark(lab.hub) == mark, "there may be others"
    file = tmp_path / "catalogue" / "all.yaml"
    data = yaml.safe_load(file.read_text())
    (tmp_path / "token").write_text("none")
    (tmp_path / "token").chmod(0o600)
    away = {"kind": "vault", "address": "http://127.0.0.1:1", "token_file": str(tmp_path / "token")}
    data["stores"]["away"] = away
    data["secrets"][shop.path]["destinations"].append({"store": "away", "name": "shop"})
    file.write_text(yaml.safe_dump(data))
    done = run("repair", "recover", "--yes")
    assert "the hub keeps this marked as to do, since it could not check the store away" in told(done)
    assert read_mark(lab.hub) == mark
    data["secrets"][shop.path]["destinations"].pop()
    file.write_text(yaml.safe_dump({**data, "stores": {"files": data["stores"]["files"]}}))
    assert run("repair", "recover", "--dry-run").exit_code == 0
    assert read_mark(lab.hub) == mark, "it was only shown"
    done = run("repair", "recover", "--yes")
    assert done.exit_code == 0, told(done)
    recovered = read_mark(lab.hub)
    assert recovered is not None
    assert recovered.recovered is not None
    assert recovered.to_do == ""


def test_recover_asks_at_a_terminal_alone(shop: Declared) -> None:
    done = run("repair", "recover", shop.path)
    assert done.exit_code == 2
    assert "give --yes, or --dry-run" in told(done)


def test_recover_brings_a_lost_value_back_and_the_ledger_tells_of_it(shop: Declared, tmp_path: Path, lab: Lab) -> None:
    kept = (tmp_path / "copies" / "shop").read_text()
    # Restored rather than written anew: the copy is of a later moment than what the hub has.
    note = tmp_path / "copies" / ".shop.keyturn.json"
    marks = json.loads(note.read_text())
    version, _, made = marks["keyturn-source"].rpartition(":")
    marks["keyturn-source"] = f"{version}:{int(made[:4]) + 1}{made[4:]}"
    note.write_text(json.dumps(marks))
    done = run("repair", "recover", "--yes", "--untested")
    assert done.exit_code == 0, told(done)
    assert "version 2 holds what files:shop held of version 3" in told(done)
    assert lab.current(shop) == json.loads(kept)
    assert "in sync" in told(run("plan"))
    assert run("plan").exit_code == 0
    assert "nothing is to be recovered" in told(run("repair", "recover", shop.path, "--yes", "--untested"))
    shown = run("ledger", "show", "--last", "20")
    assert "recover" in shown.stdout


@pytest.mark.attack
def test_a_lost_secret_without_a_copy_is_found_by_the_ledger_and_reported(
    shop: Declared, tmp_path: Path, lab: Lab
) -> None:
    alone = lab.generated()
    file = tmp_path / "catalogue" / "all.yaml"
    data = yaml.safe_load(file.read_text())
    data["secrets"][alone.path] = alone.data
    file.write_text(yaml.safe_dump(data))
    for _ in range(2):
        assert run("rotate", alone.path, "--now", "--local").exit_code == 0
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(alone.path)
    lab.root.secrets.kv.v2.create_or_update_secret(alone.path, alone.first)
    for command in (("plan",), ("status",)):
        words = told(run(*command))
        assert "THE HUB IS BEHIND" in words
        assert alone.path in words.partition("THE HUB IS BEHIND")[2].partition("before anything else")[0]
    assert f"the hub is at version 1 of {alone.path}, and the ledger knows version 3" in told(run("doctor", "--all"))
    rows = json.loads(run("repair", "recover", "--yes", "--untested", "--json").stdout)["secrets"]
    assert {row["secret"]: row["recovered"] is not None for row in rows} == {shop.path: False, alone.path: False}
    assert all("may be dead or rewritten" in row["error"] for row in rows)
    assert run("repair", "recover", shop.path, "--yes", "--untested").exit_code == 0
    left = json.loads(run("repair", "recover", "--dry-run", "--json").stdout)["secrets"]
    assert [row["secret"] for row in left] == [alone.path]
    assert run("rotate", alone.path, "--now", "--local").exit_code == 0
    assert "THE HUB IS BEHIND" not in told(run("status"))
