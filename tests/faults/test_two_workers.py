"""Two workers of one pool, each a process of its own, that take runs at the same time."""

from collections.abc import Iterator

import pytest

from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.rotation_record import Stage
from keyturn.core.workspaces import HOUSE
from keyturn.project.worker.worker import WAITING
from local.support.process import Process
from tests.flows.gate import Door, Gate
from tests.flows.runs import TERMINAL, Installed, load_apprise, register
from tests.flows.site import Architect, Site
from tests.support.application import Patient
from tests.support.lab import Declared, Lab
from tests.support.prefect_server import PrefectServer, shared, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

LEFT, RIGHT = "left", "right"
LONG = 120
"""Seconds for runs that start on a busy machine."""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    """The Prefect server of the test run."""
    return shared(request.config, tmp_path_factory)


@pytest.fixture(scope="module")
def architect(server: PrefectServer, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Architect:
    return Architect(server, lab, tmp_path_factory.mktemp("sites"), {}, {})


@pytest.fixture(scope="module")
def installed(server: PrefectServer, architect: Architect) -> Installed:
    with server.in_use():
        load_apprise()
        register(architect.build(), server, None)
        found = Installed(server, {d["name"]: d["id"] for d in server.all("deployments")})
    found.rest()
    return found


@pytest.fixture(scope="module")
def workers(installed: Installed) -> Iterator[dict[str, Process]]:
    """Two, each with a queue of its own in the one pool."""
    # One that takes from every queue may be left over from other tests.
    installed.server.worker.stop()
    with (
        installed.server.another_worker(HOUSE, LEFT, {}) as left,
        installed.server.another_worker(HOUSE, RIGHT, {}) as right,
    ):
        yield {LEFT: left, RIGHT: right}


def due(lab: Lab, count: int) -> list[Declared]:
    """Secrets whose time has come."""
    made = [lab.alternating() for _ in range(count)]
    for secret in made:
        lab.hub.patch_metadata(secret.path, {ROTATED_AT: "2020-01-01T00:00:00+00:00"})
    return made


def assert_rotated_once(lab: Lab, site: Site, secret: Declared) -> None:
    """One version more, one rotation, and it works."""
    record = site.record(secret)
    assert site.version(secret) == 2
    assert record.retiring is not None
    assert (record.retiring.stage, record.history) == (Stage.PROMOTED, ())
    assert lab.logs_in(lab.current(secret))


def test_one_secret_is_rotated_by_one_of_them_and_others_at_the_same_target_go_on_beside_it(
    installed: Installed, workers: dict[str, Process], architect: Architect, lab: Lab
) -> None:
    both, one, other = due(lab, 3)
    gate = Gate(lab.world.port, Door.HELD)
    site = architect.build(both, one, other, targets={"pg": {"port": gate.port}})
    asked = [(LEFT, both), (RIGHT, both), (LEFT, one), (RIGHT, other)]
    with Patient(lab.hub, both.path, lab.logs_in) as client:
        runs = [installed.start("rotate-secret", site, queue=queue, path=secret.path) for queue, secret in asked]
        # The target answers nobody, so what has begun stays open until the door does.
        wait_for(lambda: all(site.record(secret).open for secret in (both, one, other)), LONG)
        wait_for(lambda: [run for run in runs[:2] if told(installed, run) in TERMINAL], LONG)
        gate.move(Door.OPEN)
        ended = [installed.ended(run, LONG)["state_type"] for run in runs]
    gate.close()
    assert ended == ["COMPLETED"] * len(runs)
    assert all(workers[queue].says(run) for (queue, _), run in zip(asked, runs, strict=True))
    assert len(wait_for(lambda: [run for run in runs[:2] if f"promote {both.path}" in steps_of(installed, run)])) == 1
    for secret in (both, one, other):
        assert_rotated_once(lab, site, secret)
    assert (client.failures, client.error) == ([], None)


def told(installed: Installed, run: str) -> str:
    """The type of the state that the run is in."""
    return str(installed.server.get(f"flow_runs/{run}")["state_type"])


def steps_of(installed: Installed, run: str) -> set[str]:
    """The steps that a run has tried."""
    return {task["name"] for task in installed.server.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}})}


def test_of_two_fleets_at_the_same_time_one_waits_for_the_other_and_every_secret_is_rotated_once(
    installed: Installed, workers: dict[str, Process], architect: Architect, lab: Lab
) -> None:
    secrets = due(lab, 3)
    gate = Gate(lab.world.port, Door.HELD)
    site = architect.build(*secrets, targets={"pg": {"port": gate.port}})
    runs = [installed.start("rotate-due", site, queue=queue) for queue in workers]
    assert gate.taken.wait(LONG)
    waiting = wait_for(lambda: [run for run in runs if state_name(installed, run) == WAITING], LONG)
    assert len(waiting) == 1
    gate.move(Door.OPEN)
    assert [installed.ended(run, LONG)["state_type"] for run in runs] == ["COMPLETED"] * 2
    gate.close()
    for secret in secrets:
        assert_rotated_once(lab, site, secret)


def state_name(installed: Installed, run: str) -> str:
    """What Prefect calls the state that the run is in."""
    return str(installed.server.get(f"flow_runs/{run}")["state"]["name"])
