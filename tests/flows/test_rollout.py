"""Staged rollouts through Prefect: the canary first, with automatic rollback."""

import secrets
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from flows.retire import retire
from flows.rotate import rotate_secret
from keyturn.core.errors import TerminalError
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.outcome import RunState
from tests.flows.runs import Installed, completed, ended, error
from tests.flows.site import Site, destination
from tests.support.consumer import Consumer
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.slow

Build = Callable[..., Site]


@pytest.fixture
def canary(lab: Lab) -> Iterator[Consumer]:
    """An application with a key of its own, at ``webhooks/canary/...``."""
    key = f"whsec_{secrets.token_hex(24)}"
    path = f"webhooks/canary/{fresh()}"
    lab.hub.write_state(path, {"key": key}, cas=0)
    with Consumer(Sensitive(key), path) as listening:
        yield listening


def waves(lab: Lab, build: Build, canary: Consumer) -> tuple[Declared, Site]:
    """A secret with a copy, whose first consumer is the canary."""
    rollout = {"canary": ["canary"], "pause": "1s"}
    secret = lab.alternating(destinations=[destination()], consumers=["app", "canary"], rollout=rollout, grace="1s")
    settings = {"url": canary.url, "signing_key": canary.signing_key, "timeout": "2s"}
    return secret, build(secret, consumers={"canary": settings})


def test_the_rest_follows_a_canary_that_is_well(lab: Lab, build: Build, canary: Consumer, consumer: Consumer) -> None:
    secret, site = waves(lab, build, canary)
    assert completed(rotate_secret, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert (canary.versions(secret.path), consumer.versions(secret.path)) == ([2], [2])
    assert canary.asked == 1
    retiring = site.record(secret).retiring
    assert retiring is not None
    assert (retiring.canary_passed, retiring.acknowledged) == (True, ("app", "canary"))


def test_a_canary_that_is_not_well_brings_the_old_value_back(
    lab: Lab,
    build: Build,
    canary: Consumer,
    consumer: Consumer,
    installed: Installed,
    prefect: PrefectServer,
) -> None:
    secret, site = waves(lab, build, canary)
    canary.health = HTTPStatus.SERVICE_UNAVAILABLE
    state = ended(rotate_secret, secret.path, Trigger.FORCE)
    failed = error(state)
    assert isinstance(failed, TerminalError)
    assert "the canary is not well: canary (ask the health of canary: answered 503" in str(failed)
    assert "version 3 holds the previous value again" in str(failed)
    assert lab.current(secret) == secret.first
    assert site.served(secret) == secret.first
    assert (canary.versions(secret.path), consumer.versions(secret.path)) == ([2, 3], [3])
    candidate = site.workspace.hub.read(secret.path, 2)
    assert candidate is not None
    assert lab.logs_in(candidate.fields)
    assert lab.logs_in(secret.first)

    rows = {row["what"]: row for row in installed.rows(str(state.state_details.flow_run_id))}
    assert rows["secret"]["state"] == "reverted"
    (over,) = completed(retire, secret.path, Waive.GRACE)
    assert over.retired
    assert not lab.logs_in(candidate.fields)
    (past,) = site.record(secret).history
    assert (past.stage, past.note.split(":")[0]) == (Stage.RETIRED, "the canary is not well")
