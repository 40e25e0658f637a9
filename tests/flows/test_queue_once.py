"""At most one scheduled run waits for a hung one; manual runs wait separately."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from deployments.bootstrap import make_pool
from keyturn.core.workspaces import WorkspaceNames
from keyturn.project.worker.worker import SPARED, WAITING, KeyturnWorker
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.slow

QUEUE = WorkspaceNames("queue")


@pytest.fixture
def deployment(prefect: PrefectServer) -> Iterator[dict[str, Any]]:
    """One that runs once at a time, as `prefect.yaml` has those with a schedule."""
    asyncio.run(make_pool(print, QUEUE))
    flow = prefect.post("flows/", name="sync")["id"]
    limits = {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "ENQUEUE"}}
    yield prefect.post("deployments/", name="sync-queue", flow_id=flow, work_pool_name=QUEUE.own, **limits)
    prefect.delete(f"work_pools/{QUEUE.own}")


def asked_for(server: PrefectServer, deployment: dict[str, Any], **parameters: Any) -> str:
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    about = {"flow_id": deployment["flow_id"], "deployment_id": deployment["id"], "parameters": parameters}
    return str(server.post("flow_runs/", state=state, **about)["id"])


async def proposed(runs: dict[str, bool]) -> dict[str, bool]:
    """Which of these runs may begin, where a worker takes them; of each whether a schedule has asked for it."""
    worker = KeyturnWorker(QUEUE.own, name="queue")
    async with get_client() as worker._client:
        ready = {}
        for run, scheduled in runs.items():
            flow_run = await worker.client.read_flow_run(uuid.UUID(run))
            if flow_run.state and flow_run.state.is_scheduled():
                ready[run] = await worker._propose_pending_state(
                    flow_run.model_copy(update={"auto_scheduled": scheduled})
                )
    return ready


def test_one_waits_behind_another_and_what_the_schedule_asks_for_besides_is_left_to_it(
    prefect: PrefectServer, deployment: dict[str, Any]
) -> None:
    hangs = asked_for(prefect, deployment)
    assert asyncio.run(proposed({hangs: True})) == {hangs: True}
    same = [asked_for(prefect, deployment) for _ in range(4)]
    other, by_hand = asked_for(prefect, deployment, deep=True), asked_for(prefect, deployment)
    runs = {**dict.fromkeys(same, True), other: True, by_hand: False}
    for _ in range(2):
        assert not any(asyncio.run(proposed(runs)).values())
    states = {run: prefect.get(f"flow_runs/{run}")["state"] for run in runs}
    waiting = {run for run, state in states.items() if state["name"] == WAITING}
    assert waiting >= {other, by_hand}
    assert len(waiting & set(same)) <= 1 <= len(waiting - {other})
    spared = [state for run, state in states.items() if run not in waiting]
    assert {(state["type"], state["message"]) for state in spared} == {("CANCELLED", SPARED)}
    assert len(spared) >= 3

    prefect.post(f"flow_runs/{hangs}/set_state", state={"type": "COMPLETED"})
    assert list(asyncio.run(proposed(dict.fromkeys(waiting, True))).values()).count(True) == 1
