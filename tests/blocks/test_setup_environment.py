"""A flow run's process gets temporary credentials that Prefect never sees."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.plugins import HookContext

from blocks import setup_environment as setup
from keyturn.client import open_leases
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.project import RUN
from keyturn.wiring import process_client
from tests.support.hooks import eventually
from tests.support.lab import Lab

ROOT = Path(__file__).parents[2]
CTX = HookContext("3.9", None, lambda name: __import__("logging").getLogger(name))
GROUP = "prefect.plugins"


@pytest.fixture
def run(leading: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """This process runs a flow, and its environment asks for credentials."""
    for name, value in leading.items():
        monkeypatch.setenv(name, value)
    for name in ("API_KEY", "PGUSER", "PGPASSWORD", setup.SET_UP_FOR):
        monkeypatch.setenv(name, "of somebody else")
    monkeypatch.setattr(process_client, "_opened", {})
    run = str(uuid4())
    monkeypatch.setenv(RUN, run)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "prefect.flow_engine", "flow.py:job"])
    return run


def plugins() -> dict[str, str]:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    return {str(name): str(value) for name, value in declared.items()}


def test_what_is_asked_for_is_set_and_given_back(run: str, lab: Lab, role: str, secret: tuple[str, str]) -> None:
    result = setup.setup_environment(ctx=CTX)
    assert result is not None
    assert result.env == {}, "Prefect shows what it is handed"
    assert result.note == "Keyturn has set API_KEY, PGPASSWORD, PGUSER"
    assert os.environ["API_KEY"] == secret[1]
    login = {"username": os.environ["PGUSER"], "password": os.environ["PGPASSWORD"]}
    assert lab.logs_in(login)
    assert len(lab.hub.leases(f"database/creds/{role}")) == 1, "both variables are of one account"
    assert setup.setup_environment(ctx=CTX) is None, "a child has its parent's"
    open_leases.give_back_all()
    assert not lab.logs_in(login)


def test_only_a_flow_runs_process_is_set_up_unless_all_are_to_be(
    run: str, lab: Lab, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RUN)
    assert setup.setup_environment(ctx=CTX) is None
    assert os.environ["PGUSER"] == "of somebody else"
    monkeypatch.setenv(setup.ALWAYS, "true")
    assert setup.setup_environment(ctx=CTX) is not None
    assert os.environ[setup.SET_UP_FOR] == setup.NO_RUN
    open_leases.give_back_all()
    for name in (setup.SECRETS, setup.LEASES):
        monkeypatch.delenv(name)
    monkeypatch.setenv(RUN, run)
    assert setup.setup_environment(ctx=CTX) is None


PREPARING = ["python", "-m", "prefect.runner._workspace_supervisor", "supervisor.json"]


@pytest.mark.parametrize("always", ["", "true"])
@pytest.mark.attack
def test_a_preparing_process_gets_no_credentials_because_it_saves_its_environment(
    run: str, monkeypatch: pytest.MonkeyPatch, always: str
) -> None:
    monkeypatch.setenv(setup.ALWAYS, always)
    monkeypatch.setattr(sys, "orig_argv", PREPARING)
    assert setup.setup_environment(ctx=CTX) is None


def test_a_flows_own_process_is_known_by_how_prefect_starts_it() -> None:
    bootstrap = "/venv/lib/prefect/runner/_workspace_runtime_bootstrap.py"
    for own in (
        ["python", "-m", "prefect.engine"],
        ["uv", "run", "--project", ".", "python", bootstrap, "engine", "flow.py:job"],
        ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()", "--multiprocessing-fork"],
    ):
        assert setup.runs_flow(own)
    for other in (
        PREPARING,
        ["prefect", "flow-run", "execute"],
        ["python", "-m", "prefect", "worker", "start"],
        ["python", bootstrap, "hook", "cancellation", "workspace.json", "flow_run.json", "state.json"],
        ["python", "train.py", "prefect.engine"],
    ):
        assert not setup.runs_flow(other)


@pytest.mark.parametrize(
    ("variable", "text", "error", "words"),
    [
        (setup.SECRETS, "API_KEY=nobody/there#key", NotFound, "nobody/there"),
        (setup.SECRETS, "API_KEY=CANARY/a#key,B=b#key,API_KEY=c#key", Invalid, "API_KEY is set twice"),
        (setup.SECRETS, "API_KEY=CANARY-without-a-field", Invalid, "entry 1 is not of the kind NAME=PATH#FIELD"),
        (setup.LEASES, "PGUSER={role}#username,PGPASSWORD={role}#token", NotFound, "it has no field token"),
        (setup.LEASES, "PGUSER=auth/token/lookup-self#id", Invalid, "it is below auth/"),
    ],
)
def test_where_it_fails_nothing_is_set_nor_left(
    run: str, lab: Lab, role: str, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, error: type, words: str
) -> None:
    monkeypatch.setenv(variable, text.format(role=f"database/creds/{role}"))
    with pytest.raises(error, match=words) as caught:
        setup.setup_environment(ctx=CTX)
    assert isinstance(caught.value, KeyturnError)
    assert "CANARY" not in str(caught.value)
    asked = {"API_KEY", "PGUSER"} | ({"PGPASSWORD"} if "PGPASSWORD" in os.environ[setup.LEASES] else set())
    assert not asked & os.environ.keys()
    assert lab.hub.leases(f"database/creds/{role}") == []


def test_a_lease_that_was_revoked_leaves_no_variable_behind(
    run: str, lab: Lab, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.setup_environment(ctx=CTX)
    (lent,) = open_leases._lent.values()
    for lease_id in lab.hub.leases(f"database/creds/{role}"):
        lab.hub.revoke_lease(lease_id)
    with pytest.raises(KeyturnError):
        lent.renew()  # type: ignore[attr-defined]
    # The thread that keeps it may have found out first, and be about to remove them.
    assert eventually(lambda: "PGPASSWORD" not in os.environ)
    assert "API_KEY" in os.environ
    lent.close()


def test_the_plugin_imports_nothing_where_nobody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ((_, value),) = plugins().items()
    code = f"import {value}, sys; print('prefect' in sys.modules, hasattr({value}, 'setup_environment'))"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_SETUP_")}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment, cwd=ROOT)
    assert printed.stdout.decode().split() == ["False", "False"]


def test_the_entry_point_is_the_module_that_prefect_loads() -> None:
    ((name, value),) = plugins().items()
    assert (name, value) == ("keyturn", "keyturn.project.plugin")
    assert EntryPoint(name, value, GROUP).load().__name__ == value
