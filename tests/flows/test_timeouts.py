"""No run goes on for ever, and what one that ran out of time leaves is finished by the next."""

import importlib
import pkgutil
from collections.abc import Callable

import pytest
from prefect import Flow

import flows
from flows.retire import retire
from flows.rotate import rotate_secret
from flows.rotate_due import rotate_due
from keyturn.catalogue.models import PAUSE_LIMIT
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from tests.flows.gate import Door, Gate
from tests.flows.runs import completed, ended
from tests.flows.site import Site
from tests.support.lab import Lab

LONGEST = 4 * 3600

MODULES = [importlib.import_module(f"flows.{module.name}") for module in pkgutil.iter_modules(flows.__path__)]
FLOWS = {found.name: found for module in MODULES for found in vars(module).values() if isinstance(found, Flow)}


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_an_end(name: str) -> None:
    assert FLOWS[name].timeout_seconds, f"{name} may run for ever: give its @runbook a timeout"
    assert 60 <= (FLOWS[name].timeout_seconds or 0) <= LONGEST


def test_a_run_that_watches_a_canary_has_time_for_it() -> None:
    for flow in (rotate_secret, rotate_due):
        assert flow.timeout_seconds
        assert flow.timeout_seconds >= 2 * PAUSE_LIMIT.total_seconds()
    assert len(FLOWS) >= 7
    assert retire in FLOWS.values()


@pytest.mark.slow
def test_a_run_that_ran_out_of_time_is_a_failure_and_the_next_goes_on_with_its_candidate(
    build: Callable[..., Site], lab: Lab, gate: Callable[[int, Door], Gate]
) -> None:
    secret = lab.alternating()
    door = gate(lab.world.port, Door.HELD)
    site = build(secret, targets={"pg": {"port": door.port}})
    state = ended(rotate_secret.with_options(timeout_seconds=5), secret.path, Trigger.FORCE)
    assert (state.name, state.is_failed()) == ("TimedOut", True)
    pending = site.record(secret).rotation
    assert pending
    assert pending.stage is Stage.PENDING
    door.move(Door.OPEN)
    completed(rotate_secret, secret.path)
    promoted = site.record(secret).rotation
    assert promoted
    assert (promoted.token, promoted.stage) == (pending.token, Stage.PROMOTED)
    assert lab.logs_in(lab.current(secret))
