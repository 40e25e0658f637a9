"""A writer of Prefect's API can make workers run Keyturn's flows only.

They may say what command a run is started with, which variables it gets, where its code is fetched from and what it is,
and may call their own flow by the name of one of ours. Each of that would run code on a process worker.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.deployments.steps.core import run_steps
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from pydantic import ValidationError

from blocks.channel import FailureChannel
from blocks.workspace import KeyturnWorkspace
from deployments.bootstrap import make_pool, put_block
from flows.rotate import rotate_secret
from keyturn.core.errors import Invalid
from keyturn.core.notifications.channel import Announcement
from keyturn.core.workspaces import CATALOGUE_VARIABLE, VARIABLE, WorkspaceNames
from keyturn.project.runs import begin
from keyturn.project.worker.worker import KeyturnWorker
from keyturn.project.worker_settings import own_settings
from local.pager import Pager
from local.support.ports import free_port
from tasks.revocation import revoking_workspace
from tests.cli.command import one_generated_secret
from tests.flows.gate import Door, Gate
from tests.flows.runs import Installed
from tests.flows.site import Architect, Site
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, shared

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

WALL = WorkspaceNames("wall")
OURS = "keyturn.project.rotate_secret"
EMPTY: dict[str, Any] = {"pull_steps": [], "job_variables": {}, "path": None}
EVIL = "from pathlib import Path\nPath({marker!r}).touch()\ndef evil():\n    pass\n"


@dataclass
class Attacker:
    """Whoever may write to the API, and a file that stands as soon as anything of theirs was run."""

    server: PrefectServer
    directory: Path
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def marker(self) -> Path:
        return self.directory / "was-run"

    @property
    def command(self) -> str:
        return f"touch {self.marker}"

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [{"prefect.deployments.steps.run_shell_script": {"script": self.command}}]

    @property
    def entrypoint(self) -> str:
        file = self.directory / "evil.py"
        file.write_text(EVIL.format(marker=str(self.marker)))
        return f"{file}:evil"

    def flow(self, name: str) -> str:
        """The id of the flow of that name, which anybody may register."""
        return str(self.server.post("flows/", name=name)["id"])

    def deploy(self, flow: str = "rotate-secret", name: str = "rotate-secret-wall", **said: Any) -> str:
        """Register a deployment, or change the one that is there, on the pool of the workspace; its id."""
        body = {"name": name, "flow_id": self.flow(flow), "work_pool_name": WALL.own, "entrypoint": OURS}
        made = self.server.post("deployments/", **{"enforce_parameter_schema": False, **EMPTY, **body, **said})
        return str(made["id"])

    def run(self, deployment: str | None, flow: str = "rotate-secret", **said: Any) -> str:
        """A run as somebody makes it, who goes past all that the API looks at; its id."""
        body = {"flow_id": self.flow(flow), "deployment_id": deployment, "state": {"type": "PENDING"}}
        return str(self.server.post("flow_runs/", **{"parameters": {"path": "no/secret"}, **body, **said})["id"])

    def start(self, deployment: str, **said: Any) -> str:
        """A run for the worker, as the API's own way of starting one makes it."""
        state = {"type": "SCHEDULED"}
        return str(self.server.post(f"deployments/{deployment}/create_flow_run", state=state, **said)["id"])


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The Prefect server of the test run, with a pool of a workspace of these tests' own."""
    server = shared(request.config, tmp_path_factory)
    with server.in_use():
        asyncio.run(make_pool(print, WALL))
        yield server
        server.delete(f"work_pools/{WALL.own}")


@pytest.fixture
def attacker(server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacker]:
    """Somebody with the API; whatever they try, nothing of theirs has run at the end."""
    monkeypatch.setenv("KEYTURN_WORKSPACE", WALL.name)
    attacker = Attacker(server, tmp_path)
    yield attacker
    assert not attacker.marker.exists(), "something that the API said was run"


def refused(server: PrefectServer, run: str) -> str:
    """Why a run was refused, once the process that a worker starts for it has looked at it."""
    asyncio.run(begin.execute_run(run))  # type: ignore[arg-type]
    state = server.get(f"flow_runs/{run}")["state"]
    assert state["type"] == "FAILED", state
    assert (
        "Nothing was run. `keyturn setup prefect --apply --workspace wall` registers what may run here"
        in state["message"]
    )
    return str(state["message"])


def test_prefects_own_worker_would_run_the_attackers_command(attacker: Attacker) -> None:
    asyncio.run(run_steps(attacker.steps))  # type: ignore[arg-type]
    assert attacker.marker.exists()
    attacker.marker.unlink()


def test_an_unmodified_keyturn_run_is_accepted(attacker: Attacker) -> None:
    async def permitted(run: Any) -> Any:
        async with get_client() as client:
            return begin.permitted_flow(await begin.read_request(client, run))

    parameters = {"path": "no/secret", "trigger": "force", "end_previous": True}
    assert asyncio.run(permitted(attacker.run(attacker.deploy(), parameters=parameters))).fn is rotate_secret.fn


JOB_VARIABLES: dict[str, Callable[[Attacker], Any]] = {
    "command": lambda attacker: attacker.command,
    "env": lambda attacker: {"VAULT_ADDR": "https://elsewhere.example.com", "PYTHONPATH": str(attacker.directory)},
    "working_dir": lambda attacker: str(attacker.directory),
    "image": lambda attacker: "elsewhere.example.com/image",
    "env.KEYTURN_CATALOGUE": lambda attacker: str(attacker.directory),
}


@pytest.mark.parametrize("name", JOB_VARIABLES)
def test_a_run_with_job_variables_is_refused(attacker: Attacker, name: str) -> None:
    run = attacker.run(attacker.deploy(), job_variables={name: JOB_VARIABLES[name](attacker)})
    reason = refused(attacker.server, run)
    assert f"run rotate-secret/rotate-secret-wall: it brings job variables ({name}), and this worker takes" in reason


def test_a_deployment_with_job_variables_is_refused_by_the_pool_and_by_the_worker(attacker: Attacker) -> None:
    with pytest.raises(Exception, match=r"422|409|400"):
        attacker.deploy(job_variables={"command": attacker.command})
    deployment = attacker.deploy()
    # Whoever may write may change what the pool allows.
    template = ProcessWorker.get_default_base_job_template()
    attacker.server.patch(f"work_pools/{WALL.own}", base_job_template=template)
    try:
        attacker.deploy(job_variables={"command": attacker.command})
        assert "job variables (command)" in refused(attacker.server, attacker.run(deployment))
    finally:
        asyncio.run(make_pool(print, WALL))


CHANGES: dict[str, Callable[[Attacker], dict[str, Any]]] = {
    "an entrypoint of theirs": lambda attacker: {"entrypoint": attacker.entrypoint},
    "a path of theirs": lambda attacker: {"entrypoint": "evil.py:evil", "path": str(attacker.directory)},
    "another flow of ours": lambda attacker: {"entrypoint": "keyturn.project.emergency_revoke"},
    "no entrypoint": lambda attacker: {"entrypoint": None},
    "pull steps": lambda attacker: {"pull_steps": attacker.steps},
    "a module of theirs": lambda attacker: {"entrypoint": "evil.evil", "path": str(attacker.directory)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_our_deployment_with_foreign_code_is_refused(attacker: Attacker, change: str) -> None:
    run = attacker.run(attacker.deploy(**CHANGES[change](attacker)))
    assert "this worker runs what it has installed alone" in refused(attacker.server, run)


def test_a_foreign_deployment_on_our_pool_is_refused(attacker: Attacker) -> None:
    said = {"entrypoint": attacker.entrypoint, "pull_steps": attacker.steps, "path": str(attacker.directory)}
    reason = refused(attacker.server, attacker.run(attacker.deploy("evil", "evil", **said), "evil"))
    assert "run evil/evil: Keyturn has no flow named evil, and this worker runs no other's" in reason


@pytest.mark.parametrize("flow", ["evil", "rotate_secret", "enter", "root", "Rotate-Secret"])
def test_a_deployment_with_our_name_and_another_flow_is_refused(attacker: Attacker, flow: str) -> None:
    reason = refused(attacker.server, attacker.run(attacker.deploy(flow, "rotate-secret-wall"), flow))
    assert f"Keyturn has no flow named {flow}" in reason


def test_a_deployment_with_our_flow_and_another_name_is_refused(attacker: Attacker) -> None:
    reason = refused(attacker.server, attacker.run(attacker.deploy(name="rotate-secret")))
    assert "the flow's deployment is rotate-secret-wall, and this one is rotate-secret" in reason


def test_a_run_whose_flow_is_not_its_deployments_is_refused(attacker: Attacker) -> None:
    deployment = attacker.deploy("evil", "rotate-secret-wall", entrypoint=attacker.entrypoint)
    assert "this one is rotate-secret-wall" in refused(attacker.server, attacker.run(deployment))


def test_a_run_without_a_deployment_is_refused(attacker: Attacker) -> None:
    assert "it belongs to no deployment" in refused(attacker.server, attacker.run(None))


PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"path": "a/b", "command": "id"}, "it has no parameter command"),
    "missing": ({}, "path is missing"),
    "a number for a text": ({"path": 7}, "path: Input should be a valid string"),
    "a list for a text": ({"path": ["a/b"]}, "path: Input should be a valid string"),
    "a reference to a block": ({"path": {"$ref": "8c6f7f0e-3d5b-4b5c-9a51-0d2c8a3f1b11"}}, "path: Input should be"),
    "a text for a truth": ({"path": "a/b", "end_previous": "yes"}, "end_previous: Input should be a valid boolean"),
    "no such choice": ({"path": "a/b", "trigger": "nonsense"}, "trigger: Input should be"),
    "a text for a number": ({"path": "a/b", "ground": "1"}, "ground: Input should be a valid integer"),
}


@pytest.mark.parametrize("wrong", PARAMETERS)
def test_parameters_that_dont_fit_the_flow_are_refused_and_not_repeated(attacker: Attacker, wrong: str) -> None:
    parameters, reason = PARAMETERS[wrong]
    message = refused(attacker.server, attacker.run(attacker.deploy(), parameters=parameters))
    assert f"its parameters don't fit the flow: {reason}" in message
    assert "nonsense" not in message


def test_a_process_worker_on_the_pool_starts_nothing() -> None:
    template = KeyturnWorker.get_default_base_job_template()
    with pytest.raises(ValidationError, match="start its workers with --type keyturn"):
        asyncio.run(ProcessJobConfiguration.from_template_and_values(template, {}, client=None))


def test_an_older_pool_of_the_type_process_is_replaced_and_reported(server: PrefectServer) -> None:
    old, said = WorkspaceNames("old"), list[str]()
    server.post("work_pools/", name=old.own, type="process")
    try:
        for _ in range(2):
            asyncio.run(make_pool(said.append, old))
            pool = server.get(f"work_pools/{old.own}")
            template = KeyturnWorker.get_default_base_job_template()
            assert (pool["type"], pool["base_job_template"]) == ("keyturn", template)
    finally:
        server.delete(f"work_pools/{old.own}")
    (remark,) = said
    assert remark.startswith("the work pool keyturn-old was of type process")
    assert "Start its workers again with --type keyturn" in remark


def test_hub_settings_are_removed_from_blocks_of_earlier_versions(server: PrefectServer) -> None:
    held = {"address": "https://hub.example.com", "catalogue": "/etc/keyturn"}
    KeyturnWorkspace(workspace="old", **held).save("old", overwrite=True, _sync=True)  # type: ignore[call-arg,arg-type]
    asyncio.run(put_block(WorkspaceNames("old")))
    (document,) = server.all("block_documents", block_documents={"name": {"any_": ["old"]}})
    server.delete(f"block_documents/{document['id']}")
    assert document["data"] == {"workspace": "old"}


LEADING = {"VAULT_ADDR": "https://hub.example.com", "KEYTURN_CATALOGUE": "/etc/keyturn"}


def test_a_worker_without_a_hub_of_its_own_does_not_start() -> None:
    with pytest.raises(Invalid, match="VAULT_ADDR and KEYTURN_CATALOGUE are not set"):
        own_settings({}, WALL.own)


def test_a_worker_serves_the_workspace_of_its_pool_alone() -> None:
    assert own_settings(LEADING, WALL.own) == {**LEADING, "KEYTURN_WORKSPACE": "wall"}
    with pytest.raises(Invalid, match="KEYTURN_WORKSPACE is wall, and the pool keyturn is of the workspace default"):
        own_settings({**LEADING, "KEYTURN_WORKSPACE": "wall"}, "keyturn")
    with pytest.raises(Invalid, match="serve the work pool evil: it is no workspace's"):
        own_settings(LEADING, "evil")


def test_a_file_of_settings_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "worker.env"
    file.write_text("# the hub\n\nVAULT_ADDR='https://hub.example.com'\nKEYTURN_CATALOGUE=\"/etc/keyturn\"\nX=\n")
    file.chmod(0o640)
    given = {"KEYTURN_SETTINGS_FILE": str(file), "X": "of the environment"}
    assert own_settings(given, WALL.own) == {**LEADING, **given, "KEYTURN_WORKSPACE": "wall"}
    for mode in (0o660, 0o602):
        file.chmod(mode)
        with pytest.raises(Invalid, match=f"others than its owner may write it. chmod go-w {file}"):
            own_settings(given, WALL.own)
    file.chmod(0o600)
    file.write_text("VAULT_ADDR\n")
    with pytest.raises(Invalid, match=f"{file}:1: it is no line of the kind NAME=value"):
        own_settings(given, WALL.own)


# --- through a worker, as `prefect worker start` starts it


@dataclass(frozen=True)
class Tried:
    """What an attacker and somebody honest have asked a worker for, at the same time."""

    site: Site
    path: str
    honest: dict[str, Any]
    attack: dict[str, Any]
    marker: Path
    elsewhere: Gate


@pytest.fixture(scope="module")
def tried(server: PrefectServer, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    """A run with all of it at once, and an honest one, after somebody has pointed the workspace's block elsewhere."""
    directory, installed = tmp_path_factory.mktemp("wall"), Installed(server, {})
    attacker, elsewhere = Attacker(server, directory), Gate(0, Door.HELD)
    secret = lab.generated()
    site = Architect(server, lab, directory, {}, {}).build(secret)
    block = KeyturnWorkspace(workspace=WALL.name, address=elsewhere.url)  # type: ignore[call-arg]
    block.save(WALL.name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    server.patch(f"work_pools/{WALL.own}", base_job_template=ProcessWorker.get_default_base_job_template())
    (directory / "keyturn.py").write_text(EVIL.format(marker=str(attacker.marker)))
    settings = {**site.variables, "KEYTURN_SETTINGS_FILE": "", "KEYTURN_LEDGER": os.environ["KEYTURN_LEDGER"]}
    deployment = attacker.deploy()
    evil = {"command": attacker.command, "working_dir": str(directory), "env": {"PYTHONPATH": str(directory)}}
    try:
        with server.another_worker(WALL.own, "default", settings):
            runs = [
                attacker.start(deployment, parameters={"path": secret.path, "trigger": "force"}, **said)
                for said in ({}, {"job_variables": evil})
            ]
            honest, attack = (installed.ended(run) for run in runs)
        yield Tried(site, secret.path, honest, attack, attacker.marker, elsewhere)
    finally:
        elsewhere.close()
        asyncio.run(make_pool(print, WALL))


def test_a_worker_refuses_commands_from_the_api_and_the_run_fails_with_the_reason(tried: Tried) -> None:
    assert (tried.attack["state_type"], tried.marker.exists()) == ("FAILED", False), tried.attack["state"]
    assert "it brings job variables (command, env, working_dir)" in tried.attack["state"]["message"]


def test_a_changed_workspace_block_does_not_redirect_a_worker(tried: Tried) -> None:
    assert (tried.honest["state_type"], tried.honest["state"]["message"][:8]) == ("COMPLETED", "rotated:")
    found = tried.site.workspace.hub.describe(tried.path)
    assert found is not None
    assert (found.version, tried.elsewhere.taken.is_set()) == (2, False)
    assert json.dumps(tried.honest).count(tried.elsewhere.url) == 0


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
@pytest.mark.parametrize("named", [True, False], ids=["its own", "the block's"])
@pytest.mark.usefixtures("server")
def test_a_changed_failure_channel_gets_no_incident_if_the_worker_sets_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    workspace = "wall-named" if named else "wall-unnamed"
    with closing(Pager(free_port())) as ours, closing(Pager(free_port())) as theirs:
        changed = FailureChannel(url=theirs.address, notify_type="failure")
        changed.save(workspace, overwrite=True, _sync=True)  # type: ignore[call-arg]
        monkeypatch.setenv(CATALOGUE_VARIABLE, str(one_generated_secret(tmp_path / "catalogue")))
        monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
        monkeypatch.setenv(VARIABLE, workspace)
        monkeypatch.delenv("KEYTURN_FAILURE_URL_FILE", raising=False)
        monkeypatch.setenv("KEYTURN_FAILURE_URL", ours.address if named else "")
        channel = revoking_workspace().channel
        assert channel is not None
        channel.send(Announcement("msg_1", "subject", "body"))
        assert (len(ours.messages), len(theirs.messages)) == ((1, 0) if named else (0, 1))
