"""Orphaned runs and concurrency slots in Prefect are cleaned up."""

import asyncio
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.client.orchestration import get_client

from deployments.bootstrap import make_pool
from deployments.prefect_checks import LATE_BY_THEN, check_services
from deployments.silence import BEGINS_WITHIN, SILENCE
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import CheckResult, Grade
from keyturn.project.runs.heartbeat import HEARTBEAT
from keyturn.project.worker.leftovers import LEFT, NEVER_BEGUN, SILENT, crash_left, event_of
from local.environment import inherited
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

LONG = 120
"""Seconds for what starts a process, on a busy machine."""
WAITS = """
import asyncio, sys
from prefect import flow
from keyturn.project.runs.places import hold_place

@flow(name=sys.argv[1], persist_result=False)
async def waits() -> None:
    async with hold_place(sys.argv[2], 1.0):
        print("taken", flush=True)

asyncio.run(waits())
"""

WORKSPACE = WorkspaceNames("leftovers")


def begun(prefect: PrefectServer, state: str) -> str:
    """A run of the pool that is in this state and has no process."""
    about = {"flow_id": prefect.post("flows/", name="sync")["id"], "work_pool_name": WORKSPACE.own}
    deployment = prefect.post("deployments/", name=fresh(), work_queue_name="default", **about)["id"]
    run = str(prefect.post(f"deployments/{deployment}/create_flow_run", state={"type": "SCHEDULED"})["id"])
    prefect.post(f"flow_runs/{run}/set_state", state={"type": state}, force=True)
    return run


@pytest.mark.attack
def test_runs_whose_process_is_gone_are_crashed_and_one_that_beats_is_not(prefect: PrefectServer) -> None:
    asyncio.run(make_pool(print, WORKSPACE))
    pending, silent, alive = begun(prefect, "PENDING"), begun(prefect, "RUNNING"), begun(prefect, "RUNNING")
    beat = {"event": {"name": [HEARTBEAT]}, "resource": {"id": [f"prefect.flow-run.{alive}"]}}

    async def look(now: datetime) -> list[str]:
        async with get_client() as client:
            return await crash_left(client, WORKSPACE.own, now)

    def states() -> list[str]:
        return [prefect.get(f"flow_runs/{run}")["state"]["message"] for run in (pending, silent)]

    assert asyncio.run(look(datetime.now(UTC))) == [], "the automations come first"
    # Later than the last of them has changed.
    time.sleep(2)
    sent = [event_of(HEARTBEAT, f"prefect.flow-run.{alive}", datetime.now(UTC))]
    httpx.post(f"{prefect.url}/events", json=sent, timeout=30).raise_for_status()
    later = datetime.now(UTC) + LEFT - timedelta(seconds=1)
    assert wait_for(lambda: prefect.post("events/filter", filter=beat, limit=1)["events"])
    assert len(asyncio.run(look(later))) == 2
    assert states() == [NEVER_BEGUN, SILENT]
    assert prefect.get(f"flow_runs/{alive}")["state_type"] == "RUNNING"
    assert max(BEGINS_WITHIN, SILENCE) < LEFT


def test_a_place_that_was_left_is_taken_and_one_that_another_run_may_have_is_waited_for(
    prefect: PrefectServer,
) -> None:
    limit, name = fresh(), fresh()
    prefect.post("v2/concurrency_limits/", name=limit, limit=1, active_slots=1)
    flow = prefect.post("flows/", name=name)["id"]
    other = str(prefect.post("flow_runs/", flow_id=flow)["id"])
    prefect.post(f"flow_runs/{other}/set_state", state={"type": "RUNNING"}, force=True)
    environment = {**inherited(), **prefect.environment}
    command = [sys.executable, "-c", WAITS, name, limit]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as waiting:
        both = {"flows": {"id": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
        wait_for(lambda: len(prefect.all("flow_runs", **both)) == 2, LONG)
        time.sleep(4)
        assert waiting.poll() is None, "another run of the flow is at work, and may have it"
        prefect.post(f"flow_runs/{other}/set_state", state={"type": "CRASHED"}, force=True)
        told, _ = waiting.communicate(timeout=LONG)
    assert (waiting.returncode, told) == (0, "taken\n")
    assert prefect.get(f"v2/concurrency_limits/{limit}")["active_slots"] == 0


def test_the_doctor_says_that_the_servers_services_stand_still(prefect: PrefectServer) -> None:
    asyncio.run(make_pool(print, WORKSPACE))

    async def looked(now: datetime) -> list[CheckResult]:
        async with get_client() as client:
            return [result async for result in check_services(client, WORKSPACE, now)]

    about = {"flow_id": prefect.post("flows/", name="sync")["id"], "work_pool_name": WORKSPACE.own}
    deployment = prefect.post("deployments/", name=fresh(), work_queue_name="default", **about)["id"]
    due = datetime.now(UTC) + timedelta(hours=1)
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    prefect.post(f"deployments/{deployment}/create_flow_run", state=state, idempotency_key=str(uuid.uuid4()))
    assert asyncio.run(looked(due)) == []
    (found,) = asyncio.run(looked(due + LATE_BY_THEN + timedelta(minutes=1)))
    assert (found.grade, found.words.partition(":")[0]) == (Grade.FAILED, "they are stuck")
    prefect.delete(f"deployments/{deployment}")
