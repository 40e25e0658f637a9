"""What a command refuses or shows before anything is asked of Prefect."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.catalogue import load_catalogue
from keyturn.catalogue.hub_entries import AppRoleEntry
from keyturn.cli.app import app
from keyturn.cli.setup import prefect_server
from keyturn.cli.setup.hub import ALWAYS, GRANTER
from keyturn.cli.setup.prefect import worker_lines
from keyturn.core.workspaces import DEFAULT, WorkspaceNames
from local.support.ports import free_port
from tests.support.lab import Declared, Lab


def run(*arguments: str) -> Result:
    """One command."""
    return CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read Prefect's settings anew, as a command's own process does: here other tests may have imported Prefect."""
    monkeypatch.setattr(prefect_server, "sys", SimpleNamespace(modules={}))


@pytest.fixture
def secret(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """A secret in a catalogue; the hub is there, and nothing listens where the Prefect server is said to be."""
    declared = lab.generated()
    (tmp_path / "all.yaml").write_text(json.dumps({"secrets": {declared.path: declared.data}}))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca or "")
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    monkeypatch.setenv("KEYTURN_HUB_ROLE_ID_FILE", "")
    return declared


def test_a_version_that_no_rotation_can_begin_from_is_refused_without_prefect(secret: Declared) -> None:
    refused = run("rotate", secret.path, "--now", "--from", "2")
    assert refused.exit_code == 1
    assert "its CURRENT is not missing" in refused.stderr
    assert "Leave --from out" in refused.stderr


def test_where_no_login_may_look_the_worker_is_asked(secret: Declared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "none-that-the-hub-knows")
    refused = run("rotate", secret.path, "--now", "--from", "2")
    assert refused.exit_code == 1
    assert "the Prefect server does not answer" in refused.stderr


@pytest.mark.parametrize("token", ["two\nlines", "a b", "tökén"])
def test_a_token_that_is_none_is_one_error_with_its_variable(
    secret: Declared, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", token)
    refused = run("rotate", secret.path, "--now", "--local")
    assert refused.exit_code == 1
    assert "what VAULT_TOKEN holds is no token" in refused.stderr
    assert "unexpected" not in refused.stderr
    assert token not in refused.stderr


def test_a_line_break_at_the_end_of_a_token_is_no_part_of_it(
    secret: Declared, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", f"{lab.world.hub_token}\n")
    assert run("rotate", secret.path, "--now", "--local").exit_code == 0


def test_a_namespace_with_a_line_break_is_one_error(secret: Declared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_NAMESPACE", "a\nb")
    assert "VAULT_NAMESPACE has a line break" in run("rotate", secret.path, "--now", "--local").stderr


def workers(directory: Path, hub: dict[str, Any], logins: Path | None = None) -> list[str]:
    """How the workers of a catalogue are started."""
    (directory / "all.yaml").write_text(json.dumps({"hub": hub, "secrets": {}}))
    return list(worker_lines(WorkspaceNames(DEFAULT), load_catalogue(directory, {}), logins))


def test_workers_are_listed_with_the_roles_that_the_catalogue_declares_and_only_where_they_have_work(
    tmp_path: Path,
) -> None:
    login = {"kind": "approle", "addresses": ["127.0.0.0/8"]}
    shown = workers(tmp_path, {"rotator": {**login, "login": "worker"}, "notary": {**login, "login": "notary"}})
    text = "\n".join(shown)
    assert '="$LOGINS"/rotator/role-id' in text
    assert '="$LOGINS"/notary/secret-id' in text
    assert "the catalogue declares no login of the revoker yet" in text
    assert "--work-queue granter" not in text
    assert "--work-queue backup" not in text


def test_workers_are_listed_with_the_ledgers_file_and_never_with_a_databases_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_LEDGER", "/var/lib/keyturn/the ledger.db")
    assert "KEYTURN_LEDGER='/var/lib/keyturn/the ledger.db' " in "\n".join(workers(tmp_path, {}))
    monkeypatch.setenv("KEYTURN_LEDGER", "postgresql://keyturn:secret@db.example.com/ledger")
    text = "\n".join(workers(tmp_path, {}))
    assert "KEYTURN_LEDGER" not in text
    assert "secret@" not in text


def test_workers_of_a_catalogue_that_declares_no_logins_have_the_usual_roles(tmp_path: Path) -> None:
    text = "\n".join(workers(tmp_path, {}))
    assert 'KEYTURN_HUB_ROLE_ID_FILE="$LOGINS"/keyturn-worker/role-id' in text
    assert "export LOGINS=" in text
    assert "declares no login" not in text


def test_workers_are_listed_with_the_directory_of_their_logins(tmp_path: Path) -> None:
    text = "\n".join(workers(tmp_path, {}, tmp_path / "our logins"))
    assert f"KEYTURN_HUB_ROLE_ID_FILE='{tmp_path}/our logins'/keyturn-worker/role-id" in text
    assert "LOGINS" not in text


@pytest.mark.parametrize("login", [*ALWAYS, GRANTER])
def test_the_entry_that_setup_hub_proposes_for_a_login_is_legal(login: str) -> None:
    assert AppRoleEntry.model_validate({"kind": "approle", "login": login, "addresses": ["10.1.2.0/24"]})
