"""What ``keyturn status``, ``due`` and ``history`` say of one secret, where something is odd about it."""

import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.rotation_record import Stage
from keyturn.rotation.state.record_store import load_record, save
from tests.faults.shell import Shell
from tests.support.lab import Declared, Lab

runner = CliRunner()
FAR = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Desk:
    """Commands in this process, on a catalogue of some secrets of the lab."""

    def __init__(self, lab: Lab, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.lab, self.shell, self.patch = lab, Shell(lab, directory), patch

    def declare(self, *secrets: Declared, **target: Any) -> None:
        """The catalogue from now on; ``target`` are changes of the database as a target."""
        catalogue = self.shell.catalogue(secrets[0], target=target)
        data = json.loads(json.dumps({one.path: one.data for one in secrets}))
        (catalogue / "more.yaml").write_text(
            json.dumps({"secrets": {p: d for p, d in data.items() if p != secrets[0].path}})
        )
        self.patch.setenv("KEYTURN_CATALOGUE", str(catalogue))

    def told(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> Result:
        return runner.invoke(app, arguments)

    def status(self, secret: Declared) -> str:
        """The rows of one secret's state."""
        return self.run("status", "--output", "wide").stdout.partition(secret.path)[2]


@pytest.fixture
def desk(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "AWS_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    return Desk(lab, tmp_path, monkeypatch)


@pytest.mark.parametrize("moments", [("opened_at",), ("promoted_at", "in_force_at", "grace_from")], ids="-".join)
@pytest.mark.parametrize("stage", [Stage.PROMOTED, Stage.REVERTED])
def test_a_record_from_the_year_9999_hides_no_other_secret(desk: Desk, moments: tuple[str, ...], stage: Stage) -> None:
    odd, other = desk.lab.alternating(grace="1h", max_grace="2h"), desk.lab.generated()
    desk.declare(odd, other)
    assert desk.run("rotate", odd.path, "--now", "--local").exit_code == 0
    workspace = desk.lab.open(odd).workspace
    record = load_record(workspace, odd.path)
    assert record.rotation
    far: dict[str, Any] = dict.fromkeys(moments, FAR)
    save(workspace, odd.path, record, replace(record.rotation, stage=stage, **far))
    for command in ("status", "due"):
        rows = {one["path"]: one for one in desk.told(command)["secrets"]}
        assert rows[other.path]["error"] == ""
        assert "its record keyturn/rotations/" in rows[odd.path]["error"], rows[odd.path]
        assert "9999" in rows[odd.path]["error"]


def test_metadata_from_the_year_9999_hides_no_other_secret(desk: Desk) -> None:
    odd, other = desk.lab.generated(), desk.lab.generated()
    desk.declare(odd, other)
    desk.lab.hub.patch_metadata(odd.path, {"keyturn-rotated-at": FAR.isoformat()})
    for command in ("status", "due"):
        rows = {one["path"]: one for one in desk.told(command)["secrets"]}
        assert rows[other.path]["error"] == ""
        assert odd.path in rows


def test_a_version_that_was_taken_back_was_not_written_by_hand(desk: Desk) -> None:
    secret = desk.lab.alternating(grace="1h")
    desk.declare(secret)
    assert desk.run("rotate", secret.path, "--now", "--local").exit_code == 0
    assert desk.run("rollback", secret.path, "--yes", "--why", "a test").exit_code == 0
    versions = {one["version"]: one for one in desk.told("history", secret.path)["versions"]}
    rotation = desk.told("history", secret.path)["rotations"][0]
    assert [versions[number]["sequence"] for number in (1, 2, 3)] == [None, rotation["sequence"], rotation["sequence"]]
    rows = desk.run("history", secret.path, "--output", "wide").stdout.splitlines()
    (row,) = [row for row in rows if row.startswith("2 ")]
    assert "taken back" in row
    assert "none" not in row


def test_the_end_of_a_credential_that_never_was_is_not_announced(desk: Desk) -> None:
    secret = desk.lab.generated(grace="1h")
    desk.declare(secret)
    assert desk.run("rotate", secret.path, "--now", "--local").exit_code == 0
    assert "old credential ends" not in desk.status(secret)
    fresh = replace(secret, path=f"{secret.path}-new")
    desk.declare(fresh)
    assert desk.run("rotate", fresh.path, "--local").exit_code == 0
    assert "old credential" not in desk.status(fresh)


def test_no_countdown_goes_on_where_the_target_is_another_one_by_now(desk: Desk) -> None:
    secret = desk.lab.alternating(grace="1h")
    desk.declare(secret)
    assert desk.run("rotate", secret.path, "--now", "--local").exit_code == 0
    assert "old credential ends in" in desk.status(secret)
    desk.declare(secret, host="localhost")
    assert "old credential ends" not in desk.status(secret)
    assert "old credential is not ended: the catalogue names another target" in desk.status(secret)


def test_what_made_way_is_reported_where_the_rotation_then_fails(desk: Desk) -> None:
    secret = desk.lab.alternating(grace="1h")
    desk.declare(secret)
    assert desk.run("rotate", secret.path, "--now", "--local").exit_code == 0
    desk.declare(secret, host="localhost", port=1)
    failed = desk.run("rotate", secret.path, "--now", "--local")
    assert failed.exit_code == 1
    assert f"the credential before version 2 (username {secret.users[0]}) was not ended" in failed.stderr


def test_a_stack_of_a_distribution_that_is_not_installed_ends_no_status(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where ``keyturn-local`` was uninstalled, or another checkout's stack is here."""
    desk.declare(secret := desk.lab.generated())
    (home := tmp_path / "left").mkdir()
    (home / "stack.json").write_text("{}")
    monkeypatch.setenv("KEYTURN_HOME", str(home))
    for module in [name for name in sys.modules if name.partition(".")[0] == "local"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "local", None)
    done = desk.run("status", "--json")
    status = json.loads(done.stdout)
    assert [one["path"] for one in status["secrets"]] == [secret.path]
    assert status["stack"] is None
    assert f"the services of the local stack in {home} are unknown" in done.stderr
    assert "pip install 'keyturn[local]'" in done.stderr


def test_json_of_a_hub_that_does_not_answer_says_that_all_is_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.declare(desk.lab.generated())
    monkeypatch.setenv("VAULT_TOKEN", "s.refused")
    done = desk.run("status", "--json")
    assert done.exit_code != 0
    health = json.loads(done.stdout)["health"]
    assert health["state"] == "unknown"
    assert health["unknown"]
    assert "error: " in done.stderr
