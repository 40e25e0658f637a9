"""``keyturn status``, ``due --check`` and the dashboard report nothing healthy without a check."""

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from keyturn.catalogue import load_catalogue
from keyturn.catalogue.operator.policy import OperatorsPolicy, Scheduler
from keyturn.cli import health
from keyturn.cli.app import app
from keyturn.cli.health import SILENT, UNTESTED, LoginState, PrefectSight, check_logins, judge_workers
from keyturn.cli.secrets.dashboard import board_of
from keyturn.cli.setup import prefect_server
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import Grade
from keyturn.pages.dashboard_page import write_dashboard
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.incidents.store import create_incident
from keyturn.rotation.heartbeat import HEARTBEAT, leave_heartbeat
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.login_checks import Login, LoginCheck
from keyturn.settings.hub import HubSettings
from keyturn.wiring.ledger import configured_ledger, make_checkpoint
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.prepare import Hub as PreparedHub
from local.support.ports import free_port
from tests.cli.command import one_generated_secret
from tests.support.lab import Lab

runner = CliRunner()
ROUND_AGO, LONG_AGO = timedelta(minutes=10), SILENT + timedelta(minutes=1)


class Installation:
    """A hub of these tests alone, with one secret that was rotated once, and its ledger in a file."""

    def __init__(self, workspace: Workspace, ledger: Path, hub: VaultHub) -> None:
        self.workspace, self.ledger, self.hub = workspace, ledger, hub

    def sign(self) -> None:
        with closing(configured_ledger(os.environ)) as ledger:
            make_checkpoint(self.hub, ledger, self.workspace.clock)

    def works(self) -> None:
        """A worker has just made its round, and the notary has signed."""
        leave_heartbeat(self.workspace)
        self.sign()

    def health(self, code: int) -> dict[str, Any]:
        """What status tells, with this exit code, as due does."""
        done = keyturn("status", "--json")
        assert done.exit_code == code, done.output
        due = keyturn("due", "--check")
        assert due.exit_code == code, due.output
        return dict(json.loads(done.stdout)["health"])

    def headline(self) -> str:
        """Of the page of everything."""
        return write_dashboard(board_of(self.workspace)).partition("<h1>")[2].partition("</h1>")[0]


def keyturn(*arguments: str) -> Result:
    return runner.invoke(app, arguments)


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    made = OpenBao(tmp_path_factory.mktemp("health"), free_port())
    made.directory.mkdir(exist_ok=True)
    (made.directory / "root.token").write_text(lab.world.hub_token)
    with made:
        PreparedHub(made.address, made.root_token).set_up()
        yield made


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("health-ledger") / "ledger.db"


@pytest.fixture
def installation(
    server: OpenBao, ledger_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    catalogue = one_generated_secret(tmp_path / "catalogue")
    variables = {
        "VAULT_ADDR": server.address,
        "VAULT_TOKEN": server.root_token,
        "KEYTURN_CATALOGUE": str(catalogue),
        "KEYTURN_LEDGER": str(ledger_file),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with closing(VaultHub(HubSettings.from_environment())) as hub:
        hub.delete_state(HEARTBEAT)
        workspace = open_workspace(load_catalogue(catalogue, os.environ), hub)
        if hub.describe("a/b") is None:
            assert keyturn("rotate", "a/b", "--local").exit_code == 0
        yield Installation(workspace, ledger_file, hub)


def test_where_all_was_checked_and_works_all_is_well(installation: Installation) -> None:
    installation.works()
    health = installation.health(0)
    assert (health["state"], health["failed"], health["unknown"]) == ("ok", [], [])
    assert [check["grade"] for check in health["checks"]] == ["ok"] * 4
    assert installation.headline() == "Everything is healthy"


def test_without_a_word_of_any_worker_it_is_unknown_and_says_how_to_declare_that(installation: Installation) -> None:
    installation.sign()
    health = installation.health(5)
    assert (health["state"], health["unknown"]) == ("unknown", ["workers"])
    assert "declare `scheduler: external` in the operator's file" in keyturn("status").stderr
    assert installation.headline() == "Not everything could be checked"


def test_where_cron_runs_it_that_is_declared_and_nobody_misses_a_worker(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.sign()
    (tmp_path / "policy.yaml").write_text("scheduler: external\n")
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    assert installation.health(0)["state"] == "ok"


def test_a_prefect_server_that_is_down_is_a_failure(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.works()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    assert installation.health(1)["failed"] == ["workers"]
    assert "workers: the Prefect server at http://127.0.0.1:" in keyturn("status").stderr
    assert installation.headline() == "Action needed"


@pytest.fixture(autouse=True)
def settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read Prefect's settings anew, as a command's own process does: here other tests may have imported Prefect."""
    monkeypatch.setattr(prefect_server, "sys", SimpleNamespace(modules={}))


@pytest.mark.parametrize(("status", "code"), [("ONLINE", 0), ("OFFLINE", 1)])
def test_the_prefect_server_says_whether_a_worker_is_alive(
    installation: Installation, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    installation.works()
    httpserver.expect_request("/api/health").respond_with_json(True)
    httpserver.expect_request("/api/work_pools/keyturn/workers/filter").respond_with_json([{"status": status}])
    monkeypatch.setenv("PREFECT_API_URL", httpserver.url_for("/api"))
    assert installation.health(code)["failed"] == ["workers"] * code


def test_an_open_incident_is_a_failure(installation: Installation) -> None:
    installation.works()
    now, name = installation.workspace.clock(), f"INC-{secrets.token_hex(4)}"
    create_incident(installation.workspace, Incident(name, "leaked", Mode.REPLACE, "a/b", "ana", now, now, ("a/b",)))
    try:
        assert name in str(installation.health(1)["failed"])
        assert f"incidents: 1 open, first {name}: leaked" in keyturn("status").stderr
    finally:
        installation.hub.delete_state(f"incidents/{name}/head")


def test_a_ledger_that_lacks_what_was_signed_is_a_failure(installation: Installation) -> None:
    installation.works()
    with closing(sqlite3.connect(installation.ledger)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE entries SET sequence = -1 WHERE sequence = (SELECT max(sequence) FROM entries)")
        connection.commit()
        try:
            assert installation.health(1)["failed"] == ["ledger"]
            assert "ledger: NOT WHOLE" in keyturn("status").stderr
        finally:
            connection.execute(
                "UPDATE entries SET sequence = 1 + (SELECT max(sequence) FROM entries) WHERE sequence = -1"
            )
            connection.commit()


def test_a_ledger_that_nobody_signs_is_unknown_but_for_its_first_hour(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.works()
    installation.hub.delete_state(f"ledgers/{installation.workspace.ledger.origin}")  # type: ignore[attr-defined]
    assert installation.health(0)["state"] == "ok"
    monkeypatch.setattr(health, "FIRST_SIGNED", timedelta(0))
    assert installation.health(5)["unknown"] == ["ledger"]


def test_a_ledger_elsewhere_is_unknown(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.works()
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", "another")
    assert "ledger" in installation.health(5)["unknown"]


def test_the_last_sign_of_life_decides_where_prefect_is_not_asked() -> None:
    names = WorkspaceNames()
    assert judge_workers(ROUND_AGO, None, names).grade is Grade.WELL
    assert judge_workers(LONG_AGO, None, names).grade is Grade.FAILED
    assert judge_workers(LONG_AGO, PrefectSight(2), names).grade is Grade.FAILED
    assert judge_workers(None, PrefectSight(2), names).grade is Grade.WELL
    assert judge_workers(None, None, names).grade is Grade.UNKNOWN
    assert "the keeper last ran 10 min" in judge_workers(ROUND_AGO, PrefectSight(0), names).words


def test_untested_logins_are_one_line(installation: Installation) -> None:
    old, young, now = UNTESTED + ROUND_AGO, ROUND_AGO, installation.workspace.clock()
    untried = LoginState("c", young, LoginCheck(Login.UNTRIED, 1, now, now))
    rotated, never = LoginState("a", young, None), LoginState("b", old, None)
    assert check_logins(installation.workspace, [rotated]).grade is Grade.WELL
    result = check_logins(installation.workspace, [rotated, never, untried])
    assert (result.grade, result.words.partition(":")[0]) == (Grade.UNKNOWN, "unknown for 2 of 3 secrets, first b")
    assert "login not tried yet" not in keyturn("status").stdout


def test_the_operators_file_says_what_starts_the_runs() -> None:
    assert OperatorsPolicy().scheduler is Scheduler.PREFECT
