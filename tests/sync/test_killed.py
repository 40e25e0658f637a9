"""SIGKILL at any moment of a push to a real server: the next run converges, and no equal value is written twice."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.sensitive import SecretFields
from keyturn.providers.registry import open_keyturn
from keyturn.sync.planning import plan
from keyturn.sync.run import carry_out
from tasks.workers import executor
from tests.support.lab import Lab, fresh

ROOT = Path(__file__).parents[2]
SECRETS = 40


@pytest.fixture
def mount(lab: Lab) -> Iterator[str]:
    """A KV mount that copies go to."""
    name = f"copies-{fresh()[-8:]}"
    lab.root.sys.enable_secrets_engine("kv", path=name, options={"version": "2"})
    yield name
    lab.root.sys.disable_secrets_engine(name)


@pytest.fixture
def catalogue(lab: Lab, mount: str, tmp_path: Path) -> dict[str, Any]:
    """One folder of the hub, pushed to the mount; its secrets have a first version."""
    token = tmp_path / "token"
    token.write_text(lab.world.hub_token)
    folder = fresh().replace("/", "-")
    for number in range(SECRETS):
        lab.hub.write(f"{folder}/s{number}", SecretFields({"x": f"value {number}"}), cas=0)
    store = {"kind": "vault", "address": lab.world.hub_address, "mount": mount, "token_file": str(token)}
    return {"stores": {"copies": store}, "syncs": {"all": {"paths": [f"{folder}/*"], "stores": ["copies"]}}}


def start(lab: Lab, catalogue: dict[str, Any]) -> subprocess.Popen[str]:
    """A run, in a process of its own."""
    command = [sys.executable, "-m", "tests.sync.killed_child", lab.world.to_json(), json.dumps(catalogue)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ))


def killed(lab: Lab, catalogue: dict[str, Any], after: int) -> None:
    """A run that is killed once it has said so many copies."""
    with start(lab, catalogue) as process:
        assert process.stdout
        for _ in range(after):
            process.stdout.readline()
        process.kill()


def test_killed_many_times_it_ends_in_step_with_one_version_for_each_value(
    lab: Lab, catalogue: dict[str, Any], mount: str
) -> None:
    chance = random.Random(7)  # noqa: S311
    for _ in range(4):
        killed(lab, catalogue, chance.randrange(1, 12))
    with start(lab, catalogue) as process:
        process.communicate(timeout=120)
    assert process.returncode == 0
    keyturn = open_keyturn(Catalogue.model_validate(catalogue), lab.hub)
    assert plan(keyturn).counts() == {Action.IN_SYNC: SECRETS}
    store = keyturn.open_store("copies")
    versions = {copy.name: copy.version_id for copy in store.managed()}
    assert len(versions) == SECRETS
    assert set(versions.values()) == {"1"}
    written = {name: store.read(name).reveal() for name in versions}
    assert written == {name: f'{{"x":"value {name.partition("/s")[2]}"}}' for name in versions}


def children() -> list[int]:
    """The pids of this process's worker processes."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if b"tasks.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_worker_process_that_dies_leaves_its_part_to_the_next_run(
    lab: Lab, catalogue: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.workers.ENOUGH", 1)
    keyturn = open_keyturn(Catalogue.model_validate(catalogue), lab.hub)
    planned = plan(keyturn)
    with executor(keyturn, SECRETS) as execute:
        first, *others = children()
        assert others
        os.kill(first, signal.SIGKILL)
        results = carry_out(keyturn, planned, execute)
    assert len(results) == SECRETS
    failed = [result for result in results if result.error]
    assert failed
    assert {result.kind for result in failed} == {"Unavailable"}
    with executor(keyturn, SECRETS) as execute:
        assert not [result for result in carry_out(keyturn, plan(keyturn), execute) if result.error]
    assert plan(keyturn).counts() == {Action.IN_SYNC: SECRETS}
