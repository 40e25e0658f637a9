"""A throttling cloud delays only its own copies."""

from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Throttled, TransientError
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.copies.push import CopyState, converge, sync_destinations
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.emulators.aws import LocalAws
from tests.faults.outcome import assert_healed, assert_never_refused, assert_untouched
from tests.support.application import Patient
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.places import single
from tests.support.throttling_proxy import ThrottlingProxy
from tests.support.world import REGION

pytestmark = pytest.mark.sampled(4, of="file")

ATTEMPTS = 2
"""How often the SDK sends one request."""

SLOWER = (
    "AWS answered ThrottlingException to CreateSecret. It is retried automatically. If it continues, find what else"
)


@pytest.fixture
def proxy(aws: LocalAws) -> Iterator[ThrottlingProxy]:
    with ThrottlingProxy(aws.endpoint_url) as listening:
        yield listening


@pytest.fixture
def secret(lab: Lab) -> Declared:
    """Pushed to the cloud on two ways, one through the proxy."""
    return lab.alternating(destinations=[{"store": name, "name": fresh()} for name in ("slow", "quick")])


@pytest.fixture
def workspace(lab: Lab, secret: Declared, aws: LocalAws, proxy: ThrottlingProxy) -> Workspace:
    store = {"kind": "aws-secrets-manager", "region": REGION}
    data: dict[str, Any] = catalogue_data(lab.world, (secret,), store, {})
    data["stores"] = {
        "slow": {**store, "endpoint_url": proxy.url},
        "quick": {**store, "endpoint_url": aws.endpoint_url},
    }
    return open_workspace(Catalogue.model_validate(data), lab.hub)


def test_one_refusal_is_the_sdks_own_affair(workspace: Workspace, secret: Declared, proxy: ThrottlingProxy) -> None:
    proxy.throttle("CreateSecret", times=ATTEMPTS - 1)
    outcome = rotate(workspace, secret.path, Trigger.FORCE)
    assert [copy.state for copy in outcome.destinations] == [CopyState.CREATED, CopyState.CREATED]
    assert proxy.refused == ATTEMPTS - 1


def test_a_cloud_that_stays_throttled_holds_up_no_other_and_sync_heals(
    lab: Lab, workspace: Workspace, secret: Declared, proxy: ThrottlingProxy
) -> None:
    proxy.throttle("CreateSecret", "PutSecretValue")
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        outcome = rotate(workspace, secret.path, Trigger.FORCE)
        assert outcome.state is RunState.ROTATED
        assert [copy.state for copy in outcome.destinations] == [CopyState.FAILED, CopyState.CREATED]
        assert proxy.refused == ATTEMPTS
        behind = unsettled(outcome)
        assert isinstance(behind, TransientError)
        assert SLOWER in behind.problem
        with pytest.raises(Throttled, match=SLOWER):
            converge(workspace, secret.path, single(workspace.secret(secret.path).destinations)[0])
        held = retire(workspace, secret.path).held_by
        assert len(held) == 1
        assert held[0].startswith(f"slow:{secret.data['destinations'][0]['name']} is not in sync")
        assert lab.logs_in(secret.first)
        proxy.relent()
        assert [copy.state for copy in sync_destinations(workspace, secret.path)] == [
            CopyState.CREATED,
            CopyState.IN_STEP,
        ]
        assert_healed(lab, workspace, secret)
    assert_never_refused(client)


def test_a_cloud_that_is_throttled_beforehand_stops_the_rotation_before_anything_changes(
    lab: Lab, workspace: Workspace, secret: Declared, proxy: ThrottlingProxy
) -> None:
    proxy.throttle("*")
    with pytest.raises(Throttled, match=r"AWS answered ThrottlingException to DescribeSecret\. It is"):
        rotate(workspace, secret.path, Trigger.FORCE)
    assert_untouched(lab, workspace, secret)
    proxy.relent()
    assert unsettled(rotate(workspace, secret.path, Trigger.FORCE)) is None
    assert_healed(lab, workspace, secret)


def test_a_compromised_credential_does_not_wait_for_a_cloud_that_is_throttled(
    lab: Lab, workspace: Workspace, secret: Declared, proxy: ThrottlingProxy
) -> None:
    proxy.throttle("*")
    error = unsettled(rotate(workspace, secret.path, Trigger.COMPROMISE))
    assert error is not None
    assert "ThrottlingException" in error.problem
    assert lab.current(secret)["username"] == secret.users[1]
    proxy.relent()
    assert_healed(lab, workspace, secret)
