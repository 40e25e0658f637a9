"""A forked run that fails affects no other run."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from keyturn.core.workspaces import HOUSE
from local.support.ports import free_port
from tests.flows.gate import Door, Gate
from tests.flows.runs import Installed
from tests.flows.site import Architect
from tests.support.lab import Lab
from tests.support.prefect_server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

LONG = 120
"""Seconds for runs on a busy machine."""


@pytest.fixture
def gate(lab: Lab) -> Iterator[Gate]:
    """A target that answers nobody until its door is opened."""
    gate = Gate(lab.world.port, Door.HELD)
    yield gate
    gate.close()


def process_of(installed: Installed, run: str) -> int:
    """The process of a run that has begun."""
    return int(wait_for(lambda: installed.server.get(f"flow_runs/{run}")["infrastructure_pid"], LONG))


def forked_from(installed: Installed) -> int:
    """The process that the worker has told of last: it has loaded."""

    def told() -> list[str]:
        return re.findall(r"Runs are forked from process (\d+)", installed.server.worker.log.read_text())

    return int(wait_for(told, LONG)[-1])


def forked_in(worker: int) -> set[int]:
    """The worker's children that were forked, and the one that they were forked from."""
    tasks = Path(f"/proc/{worker}/task").iterdir()
    children = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    return {pid for pid in children if b"keyturn.project.nursery" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.attack
def test_a_run_completes_although_others_and_their_parent_are_killed(
    installed: Installed, architect: Architect, lab: Lab, gate: Gate
) -> None:
    secrets = [lab.alternating() for _ in range(3)]
    site = architect.build(*secrets, targets={"pg": {"port": gate.port}})
    nursery = forked_from(installed)
    start = [installed.start("rotate-secret", site, path=secret.path, trigger="force") for secret in secrets]
    killed, cancelled, lasting = [process_of(installed, run) for run in start]
    worker = installed.server.worker.pid
    assert worker
    assert {nursery, killed, cancelled, lasting} <= forked_in(worker)
    wait_for(lambda: all(site.record(secret).open for secret in secrets), LONG)

    os.kill(nursery, signal.SIGKILL)
    os.kill(killed, signal.SIGKILL)
    installed.server.post(f"flow_runs/{start[1]}/set_state", state={"type": "CANCELLING"})
    assert [installed.ended(run, LONG)["state_type"] for run in start[:2]] == ["CRASHED", "CANCELLED"]
    gate.move(Door.OPEN)
    assert installed.ended(start[2], LONG)["state_type"] == "COMPLETED"

    again = installed.start("rotate-secret", site, path=secrets[0].path, trigger="force")
    assert installed.ended(again, LONG)["state_type"] == "COMPLETED"
    assert [lab.logs_in(lab.current(secrets[number])) for number in (0, 2)] == [True, True]
    assert wait_for(lambda: forked_from(installed) != nursery, LONG)


def test_a_worker_that_seldom_asks_takes_a_run_when_it_is_asked_for(
    installed: Installed, architect: Architect, lab: Lab
) -> None:
    secret = lab.alternating()
    site = architect.build(secret)
    numbers = f"127.0.0.1:{free_port()}"
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "36000", "KEYTURN_WORKER_METRICS": numbers}
    with installed.server.another_worker(HOUSE, "woken", settings):
        # The first may be there when the worker asks for the only time; the second is not.
        for _ in range(2):
            run = installed.start("rotate-secret", site, queue="woken", path=secret.path)
            assert installed.ended(run, LONG)["state_type"] == "COMPLETED"
        done = 'keyturn_worker_runs_ended_total{flow="rotate-secret",outcome="completed"} 2.0'
        wait_for(lambda: done in requests.get(f"http://{numbers}/metrics", timeout=30).text.splitlines(), LONG)
