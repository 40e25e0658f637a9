"""``keyturn rollback``: the value before the last rotation is in force again, everywhere, or nothing is changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from local.prepare import DATABASE
from tests.support.lab import Declared, Lab
from tests.support.world import World

runner = CliRunner()
WHY = ("--why", "the trainer can't log in with it")

Shop = Callable[[Declared], Declared]


def run(*arguments: str) -> Result:
    """One command."""
    return runner.invoke(app, arguments)


def said(done: Result) -> str:
    """All that a command said, without line breaks."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def shop(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Declares a secret with a copy in a file, in a catalogue of its own."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("COLUMNS", "200")

    def declare(secret: Declared) -> Declared:
        target = {"kind": "postgresql", "host": world.host, "port": world.port, "database": DATABASE}
        target |= {"admin": "targets/pg", "sslmode": "disable"}
        stores = {"files": {"kind": "file", "directory": str(tmp_path / "copies")}}
        declared = {**secret.data, "destinations": [{"store": "files", "name": "shop"}]}
        data: dict[str, Any] = {"stores": stores, "secrets": {secret.path: declared}, "targets": {"pg": target}}
        (tmp_path / "catalogue").mkdir()
        (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump(data))
        return secret

    return declare


def copy(tmp_path: Path) -> dict[str, Any]:
    """What the copy holds."""
    held: dict[str, Any] = json.loads((tmp_path / "copies" / "shop").read_text())
    return held


@pytest.mark.parametrize("kind", ["alternating", "single", "generated"])
def test_the_value_before_is_in_force_again_in_every_copy_and_the_newer_one_ends_after_its_grace(
    shop: Shop, lab: Lab, tmp_path: Path, kind: str
) -> None:
    secret = shop(getattr(lab, kind)())
    assert run("rotate", secret.path, "--now", "--local").exit_code == 0
    newer = lab.current(secret)

    asked = run("rollback", secret.path, *WHY, "--dry-run")
    assert asked.exit_code == 0, said(asked)
    assert "What version 1 holds is put in force again" in said(asked)
    assert lab.current(secret) == newer == copy(tmp_path)

    done = run("rollback", secret.path, *WHY, "--yes", "--json")
    assert done.exit_code == 0, said(done)
    assert json.loads(done.stdout)["version"] == 3
    before = secret.first
    assert {name: lab.current(secret)[name] for name in before} == before
    assert copy(tmp_path) == lab.current(secret)
    if kind != "generated":
        assert lab.logs_in(before)
        assert lab.logs_in(newer) == (kind == "alternating")

    again = run("rollback", secret.path, *WHY, "--yes", "--json")
    assert (again.exit_code, json.loads(again.stdout)["version"]) == (0, 3)
    assert "in force already" in said(again)
    assert WHY[1] in said(run("history", secret.path))
    assert run("rotate", secret.path, "--local").exit_code == 0
    assert {name: lab.current(secret)[name] for name in before} == before, "the schedule waits for the grace"


def test_nothing_is_changed_where_the_old_credential_has_ended_or_is_known_to_others(shop: Shop, lab: Lab) -> None:
    secret = shop(lab.alternating())
    never = run("rollback", secret.path, *WHY, "--yes")
    assert never.exit_code == 1
    assert f"keyturn rotate {secret.path} --now" in said(never)

    assert run("rotate", secret.path, "--now", "--local").exit_code == 0
    lab.sql(f"ALTER ROLE {secret.users[0]} PASSWORD 'somebody-elses'")
    serving = lab.current(secret)
    refused = run("rollback", secret.path, *WHY, "--yes")
    assert refused.exit_code == 1
    assert "the target does not let in what version 1 holds" in said(refused)

    assert run("retire", secret.path, "--force", "--yes", "--local").exit_code == 0
    over = run("rollback", secret.path, *WHY, "--yes")
    assert over.exit_code == 1
    assert "that has ended" in said(over)
    assert lab.current(secret) == serving
    assert lab.logs_in(serving)


def test_why_and_a_word_are_asked_for(shop: Shop, lab: Lab) -> None:
    secret = shop(lab.generated())
    assert run("rollback", secret.path, "--yes").exit_code == 2
    assert run("rollback", secret.path, "--why", " ", "--yes").exit_code == 2
    silent = run("rollback", secret.path, *WHY)
    assert silent.exit_code == 2
    assert "--dry-run" in said(silent)
