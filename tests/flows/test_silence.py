"""Runs that die, are never started or have no worker raise an alarm."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.automations import Automation
from prefect.events.schemas.events import ResourceSpecification

from blocks.channel import FailureChannel
from deployments.bootstrap import put_automation, remove_automation
from deployments.silence import (
    begun_automation,
    crash_automation,
    silence_automation,
    unserved_automation,
    waiting_automation,
)
from keyturn.core.workspaces import HOUSE
from local.environment import inherited
from local.pager import Pager
from tests.flows.runs import Installed
from tests.flows.site import Architect
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

SOON = timedelta(seconds=10)
"""The least that Prefect allows a proactive automation."""

PATIENCE = 60.0

RUNS = """
import asyncio, os, sys
from prefect import flow, tags
from keyturn.project.runs.heartbeat import heartbeats

@flow(persist_result=False)
async def quick() -> None:
    with heartbeats():
        await asyncio.sleep(0)

@flow(persist_result=False)
async def endless() -> None:
    with heartbeats():
        print("at work", flush=True)
        await asyncio.sleep(600)

with tags(sys.argv[1]):
    for _ in range(8):
        asyncio.run(quick())
    asyncio.run(endless())
"""


@dataclass
class Silence:
    """What was begun, and left: the automations that are to notice, by what they are for."""

    server: PrefectServer
    tag: str = field(default_factory=fresh)
    queue: str = field(default_factory=fresh)
    late: str = ""
    never: str = field(default_factory=fresh)
    automations: dict[str, str] = field(default_factory=dict)

    def put(self, kind: str, automation: Automation) -> None:
        """Register one under a name of this test."""
        automation.name = f"{fresh()} {kind}"
        asyncio.run(put_automation(automation))
        (made,) = [one for one in self.server.all("automations") if one["name"] == automation.name]
        self.automations[kind] = made["id"]

    def fired(self, kind: str) -> list[dict[str, Any]]:
        """When and for what one of them has fired."""
        resource = {"id": [f"prefect.automation.{self.automations[kind]}"]}
        asked = {"event": {"name": ["prefect.automation.triggered"]}, "resource": resource}
        return list(self.server.post("events/filter", filter=asked, limit=50)["events"])

    def runs(self, tag: str = "") -> dict[str, str]:
        """The runs with the tag: their states by name of their flow's order."""
        found = self.server.all("flow_runs", flow_runs={"tags": {"all_": [tag or self.tag]}})
        return {run["id"]: run["state_type"] for run in found}


@pytest.fixture(scope="module")
def silence(installed: Installed, architect: Architect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """Nobody looks, a run waits for nobody, a queue lost its worker, one run was killed, and eight were quick."""
    server = installed.server
    begun = Silence(server)
    with server.in_use():
        block: Any = FailureChannel.load("default", _sync=True)  # type: ignore[call-arg]
        channel = block._block_document_id
        tag = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{begun.tag}"}
        begun.put("crash", crash_automation(within=SOON, runs=ResourceSpecification(tag)))
        never = {**tag, "prefect.resource.id": f"prefect.tag.{begun.never}"}
        begun.put("begun", begun_automation(within=SOON, runs=ResourceSpecification(never)))
        begun.put("keeper", silence_automation(channel, installed.deployments["keeper"], within=SOON))
        begun.put("waiting", waiting_automation(channel, within=SOON))
        begun.put("queue", unserved_automation(channel, within=SOON))
        server.post(f"work_pools/{HOUSE}/queues", name=begun.queue)
        with server.another_worker(HOUSE, begun.queue, {}):
            killed(begun, tmp_path_factory.mktemp("runs") / "runs.py")
        begun.late = installed.start("sync", architect.build(), queue=begun.queue)
        worked = installed.deployments["rotate-due"]
        server.post(f"deployments/{worked}/create_flow_run", tags=[begun.tag], state={"type": "SCHEDULED"})
        taken(begun, server.get(f"deployments/{worked}")["flow_id"])
        yield begun
        for kind in begun.automations:
            name = server.get(f"automations/{begun.automations[kind]}")["name"]
            asyncio.run(remove_automation(name))


def killed(silence: Silence, file: Path) -> None:
    """Eight quick runs, and one that is killed at its work."""
    file.write_text(RUNS)
    environment = {**inherited(), **silence.server.environment}
    with subprocess.Popen(
        [sys.executable, str(file), silence.tag], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        os.kill(process.pid, signal.SIGKILL)


def taken(silence: Silence, flow: str) -> None:
    """A run that a worker has taken, and never begun."""
    run = silence.server.post("flow_runs/", flow_id=flow, tags=[silence.never], state={"type": "SCHEDULED"})
    silence.server.post(f"flow_runs/{run['id']}/set_state", state={"type": "PENDING"})


def message(pager: Pager, subject: str) -> str:
    """The message with that subject, once it has come."""
    return wait_for(lambda: next((said for said in pager.messages if said.startswith(subject)), None), PATIENCE)


def test_a_queue_whose_worker_is_gone_is_reported(silence: Silence, pager: Pager) -> None:
    said = message(pager, f"Keyturn: no worker serves the queue {silence.queue}\n")
    assert f"prefect worker start --pool keyturn --work-queue {silence.queue} --type keyturn" in said


def test_a_late_run_that_nobody_begins_is_reported(silence: Silence, pager: Pager) -> None:
    name = silence.server.get(f"flow_runs/{silence.late}")["name"]
    said = message(pager, f"Keyturn: {name} waits for a worker\n")
    assert "No worker has begun it, nor any other run of sync, for two minutes." in said
    assert f"see that a worker serves its queue, {silence.queue}," in said
    assert f"/runs/flow-run/{silence.late}" in said


def test_that_nobody_looks_is_reported(silence: Silence, pager: Pager) -> None:
    said = message(pager, "Keyturn: no process checks what is due\n")
    assert "`keyturn rotate PATH --local`" in said


@pytest.mark.attack
def test_a_run_whose_worker_died_before_it_began_is_crashed(silence: Silence) -> None:
    assert wait_for(lambda: list(silence.runs(silence.never).values()) == ["CRASHED"], PATIENCE)


def test_a_killed_run_is_crashed_and_quick_ones_that_completed_are_left_alone(silence: Silence) -> None:
    states: Any = wait_for(
        lambda: (all_runs := silence.runs()) and {*all_runs.values()} == {"CRASHED", "COMPLETED"} and all_runs, PATIENCE
    )
    (killed_run,) = [run for run, state in states.items() if state != "COMPLETED"]
    assert len(states) == 10, "eight quick ones, the killed one, and one that a worker ran"
    # The killed run began last but for the worker's: whatever the automation has against the others, it has said then.
    time.sleep(2 * SOON.total_seconds())
    fired = wait_for(lambda: silence.fired("crash"), PATIENCE)
    labels = [event["payload"]["triggering_labels"]["prefect.resource.id"] for event in fired]
    assert labels == [f"prefect.flow-run.{killed_run}"]
