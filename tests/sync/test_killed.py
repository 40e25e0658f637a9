"""SIGKILL at any moment of a push to a real server: the next run converges, and no equal value is written twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out
from keyturn.sync_processes.executor import Child, executor, shared
from keyturn.sync_processes.worker import Order
from keyturn.wiring.registry import open_workspace
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.deployments.emulators.test_gcp_secret_manager import connected, running
from tests.support import local_aws
from tests.support.hooks import Once
from tests.support.lab import ANY_UNDECLARED, Lab, fresh
from tests.support.mounts import make_kv
from tests.support.sampling import examples, seed

ROOT = Path(__file__).parents[2]
SECRETS = 30
REGION = "eu-central-1"
PROJECT = "keyturn-killed"


@dataclass
class Pushed:
    """Where a folder of the hub is pushed to: the store's settings, and how many versions a copy has there."""

    settings: dict[str, Any]
    versions: Any
    folder: str = field(default_factory=lambda: fresh().replace("/", "-"))

    @property
    def catalogue(self) -> dict[str, Any]:
        """The folder, and the store."""
        sync = {"paths": [f"{self.folder}/*"], "stores": ["copies"], "separator": "-"}
        stores = {"copies": {**self.settings, "writes_per_second": 100_000}}
        return {"stores": stores, "syncs": {"all": sync}, "policy": ANY_UNDECLARED}


def to_vault(lab: Lab, directory: Path) -> Iterator[Pushed]:
    """Another mount of the hub's own server, where every copy is looked at first."""
    name, token = f"copies-{fresh()[-8:]}", directory / "token"
    token.write_text(lab.world.hub_token)
    make_kv(lab.root, name)
    kv = lab.root.secrets.kv.v2
    settings = {"kind": "vault", "address": lab.world.hub_address, "mount": name, "token_file": str(token)}
    yield Pushed(settings, lambda copy: len(kv.read_secret_metadata(copy, mount_point=name)["data"]["versions"]))
    lab.root.sys.disable_secrets_engine(name)


def to_gcp(lab: Lab, directory: Path) -> Iterator[Pushed]:
    """Google's Secret Manager, where a new copy takes three calls."""
    port = free_port()
    with running(port, directory), connected(port) as client:

        def versions(copy: str) -> int:
            return len(list(client.list_secret_versions(parent=f"projects/{PROJECT}/secrets/{copy}")))

        yield Pushed({"kind": "gcp-secret-manager", "project": PROJECT, "endpoint": f"127.0.0.1:{port}"}, versions)


def to_aws(lab: Lab, directory: Path) -> Iterator[Pushed]:
    """Secrets Manager, where it takes one."""
    with LocalAws(directory, free_port()) as server, pytest.MonkeyPatch.context() as environment:
        local_aws.use(server, environment)
        client = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=server.endpoint_url)
        with closing(client):

            def versions(copy: str) -> int:
                return len(client.list_secret_version_ids(SecretId=copy, IncludeDeprecated=True)["Versions"])

            settings = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": server.endpoint_url}
            yield Pushed(settings, versions)


@pytest.fixture(params=[to_vault, to_gcp, to_aws], ids=["vault", "gcp", "aws"])
def pushed(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[Pushed]:
    """One folder of the hub, pushed to a store; its secrets have a first version."""
    for made in request.param(lab, tmp_path):
        for number in range(SECRETS):
            lab.hub.write(f"{made.folder}/s{number}", SecretFields({"x": f"value {number}"}), cas=0)
        yield made


def start(lab: Lab, pushed: Pushed) -> subprocess.Popen[str]:
    """A run, in a process of its own."""
    command = [sys.executable, "-m", "tests.sync.killed_child", lab.world.to_json(), json.dumps(pushed.catalogue)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ))


def killed(lab: Lab, pushed: Pushed, most: int) -> None:
    """A run that is killed once the store holds more copies than before, whatever it has said of them."""
    with start(lab, pushed) as process:
        workspace = opened(lab, pushed)
        held = len(list(workspace.open_store("copies").list_managed()))
        while process.poll() is None and len(list(workspace.open_store("copies").list_managed())) <= min(
            held + most, SECRETS - 1
        ):
            time.sleep(0.02)
        process.kill()


def opened(lab: Lab, pushed: Pushed) -> Workspace:
    """A workspace of this process's own."""
    return open_workspace(Catalogue.model_validate(pushed.catalogue), lab.hub)


def assert_one_version_each(lab: Lab, pushed: Pushed) -> None:
    """Every copy is in sync, and holds the one version that it ever had."""
    workspace = opened(lab, pushed)
    assert plan(workspace, deep=True).counts() == {Action.IN_SYNC: SECRETS}
    assert plan(workspace).counts() == {Action.IN_SYNC: SECRETS}
    store = workspace.open_store("copies")
    names = [f"{pushed.folder}-s{number}" for number in range(SECRETS)]
    assert sorted(copy.name for copy in store.list_managed()) == sorted(names)
    assert Counter(map(pushed.versions, names)) == {1: SECRETS}
    written = {name: store.read(name).reveal() for name in names}
    assert written == {name: f'{{"x":"value {name.rpartition("-s")[2]}"}}' for name in names}


def test_killed_many_times_it_ends_in_step_with_one_version_for_each_value(lab: Lab, pushed: Pushed) -> None:
    chance = random.Random(seed())  # noqa: S311
    for _ in range(examples(1, 5)):
        killed(lab, pushed, chance.randrange(0, 8))
    with start(lab, pushed) as process:
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert_one_version_each(lab, pushed)


def children() -> list[int]:
    """The pids of this process's worker processes."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if b"keyturn.sync_processes.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.sampled(5)
def test_two_processes_share_the_work(lab: Lab, pushed: Pushed) -> None:
    workspace = opened(lab, pushed)
    with child(lab, workspace) as other:
        results = carry_out(workspace, plan(workspace, unseen=True), shared(Applier(workspace), [other]))
    assert Counter(result.state for result in results) == {"created": SECRETS}
    assert_one_version_each(lab, pushed)


@pytest.mark.sampled(5)
def test_a_worker_process_that_dies_at_work_leaves_its_part_to_the_next_run(lab: Lab, pushed: Pushed) -> None:
    workspace = opened(lab, pushed)
    with child(lab, workspace) as other:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        kill = Once(lambda: os.kill(pid, signal.SIGKILL))
        results = carry_out(workspace, plan(workspace, unseen=True), shared(Applier(workspace), [other]), kill)
    assert len(results) == SECRETS
    failed = [result for result in results if result.error]
    assert failed
    assert {result.kind for result in failed} == {"Unavailable"}
    with executor(workspace, SECRETS) as execute:
        assert not [result for result in carry_out(workspace, plan(workspace), execute) if result.error]
    assert_one_version_each(lab, pushed)


@pytest.mark.sampled(5)
def test_a_worker_process_that_dies_before_it_begins_leaves_its_part_to_the_others(
    lab: Lab, pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.sync_processes.executor.ENOUGH", 1)
    workspace = opened(lab, pushed)
    with executor(workspace, SECRETS) as execute:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        results = carry_out(workspace, plan(workspace), execute)
    assert Counter(result.state for result in results) == {"created": SECRETS}
    assert_one_version_each(lab, pushed)


@contextmanager
def child(lab: Lab, workspace: Workspace) -> Iterator[Child]:
    """A worker process that is ready."""
    ready, made = threading.Event(), Child(Order(workspace.catalogue, lab.hub.settings, 1.0))
    made.when_ready(ready.set)
    try:
        assert ready.wait(60)
        yield made
    finally:
        made.end()
