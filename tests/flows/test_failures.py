"""Failed and crashed runs are reported to the on-call channel, with the remedy."""

import os
import signal
from collections.abc import Callable

import pytest

from keyturn.core.rotation_record import Stage
from local.pager import Pager
from tests.flows.gate import Door, Gate
from tests.flows.runs import Installed
from tests.flows.site import Architect
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

Put = Callable[[int, Door], Gate]


def heard(pager: Pager, path: str) -> str:
    """The message about this secret, once it has come."""
    return wait_for(lambda: next((said for said in pager.messages if path in said), None))


def test_a_failed_run_is_reported_with_secret_step_and_remedy(
    installed: Installed, architect: Architect, lab: Lab, pager: Pager
) -> None:
    admin = f"targets/pg/{fresh()}"
    wrong = {"username": "keyturn_admin", "password": f"CANARY-{fresh()}"}
    lab.hub.write_state(admin, wrong, cas=0)
    secret = lab.alternating()
    site = architect.build(secret, targets={"pg": {"admin": admin}})
    told = installed.run("rotate-secret", site, path=secret.path, trigger="force")
    assert told["state_type"] == "FAILED"
    said = heard(pager, secret.path)
    assert said.splitlines()[0] == f"Keyturn: rotate-{secret.path} failed"
    assert f"{secret.path}, install: log in to pg: the admin account keyturn_admin is refused" in said
    assert "Put a working username and password at the target's `admin` path in the hub" in said
    assert f"Secret: {secret.path}\n" in said
    assert f"/runs/flow-run/{told['id']}" in said
    candidate = site.record(secret).candidate
    assert candidate is not None
    assert not [v for v in (wrong["password"], candidate["password"].reveal()) if v in said]


def test_a_killed_run_is_crashed_reported_and_finished_by_the_next(
    installed: Installed, architect: Architect, lab: Lab, pager: Pager, gate: Put
) -> None:
    secret = lab.alternating()
    door = gate(lab.world.port, Door.HELD)
    site = architect.build(secret, targets={"pg": {"port": door.port}})
    run = installed.start("rotate-secret", site, path=secret.path, trigger="force")
    assert door.taken.wait(30)
    pending = site.record(secret)
    assert pending.rotation is not None
    assert pending.rotation.stage is Stage.PENDING

    pid = int(installed.server.get(f"flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    door.move(Door.OPEN)
    assert installed.ended(run)["state_type"] == "CRASHED"
    said = heard(pager, secret.path)
    assert said.splitlines()[0] == f"Keyturn: rotate-{secret.path} crashed"
    assert "Nothing is lost: the next run continues from the step where it ended. Remedy: " in said

    assert installed.run("rotate-secret", site, path=secret.path)["state_type"] == "COMPLETED"
    after = site.record(secret)
    assert after.rotation is not None
    assert (after.rotation.token, after.rotation.stage) == (pending.rotation.token, Stage.PROMOTED)
    assert lab.current(secret)["password"] == pending.candidate["password"].reveal()  # type: ignore[index]
    assert lab.logs_in(lab.current(secret))
