"""Runs that write to a cluster restart each workload once, and none of them waits for its pods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.rotate import rotate_secret
from flows.rotate_due import rotate_due
from flows.sync import sync
from keyturn.core.errors import TransientError
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from tests.flows.runs import attempts, completed, ended, error
from tests.flows.site import Site
from tests.support.cluster import Cluster, running
from tests.support.lab import Declared, Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

Build = Callable[..., Site]

LONG_AGO = "2020-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def copied(lab: Lab) -> tuple[Declared, str]:
    """A secret, and the name of its copy in the cluster."""
    name = fresh()
    return lab.generated(destinations=[{"store": "cluster", "name": name}]), name


@pytest.fixture
def shop(lab: Lab, cluster: Cluster, build: Build) -> tuple[str, list[Declared]]:
    """A Deployment that uses two secrets of three, and all of them."""
    made = [copied(lab) for _ in range(3)]
    build(*(secret for secret, _ in made), stores={"cluster": cluster.settings()})
    completed(sync)
    name = fresh()
    cluster.deploy(name, [copy for _, copy in made[:2]], replicas=2)
    cluster.deploy(f"{name}-other", [made[2][1]])
    cluster.hold(name)
    return name, [secret for secret, _ in made]


def test_the_due_secrets_of_one_workload_are_one_restart(
    lab: Lab, cluster: Cluster, prefect: PrefectServer, shop: tuple[str, list[Declared]]
) -> None:
    name, secrets = shop
    for secret in secrets:
        lab.hub.patch_metadata(secret.path, {ROTATED_AT: LONG_AGO})
    state = ended(rotate_due)
    assert state.is_completed()
    assert (cluster.restarts(name), cluster.restarts(f"{name}-other")) == (1, 1)
    run = str(state.state_details.flow_run_id)

    def restarts() -> list[str]:
        tasks = prefect.all("task_runs", task_runs={"flow_run_id": {"any_": [run]}})
        return [task["name"] for task in tasks if task["name"].startswith("restart ")]

    (together,) = wait_for(restarts)
    assert set(together.removeprefix("restart who uses ").split(", ")) == {secret.path for secret in secrets[:2]}


def test_one_rotation_restarts_and_a_failed_rollout_ends_the_scheduled_sync(
    lab: Lab, cluster: Cluster, shop: tuple[str, list[Declared]]
) -> None:
    name, secrets = shop
    completed(rotate_secret, secrets[0].path, Trigger.FORCE)
    assert cluster.restarts(name) == 1
    completed(sync)
    cluster.fail(name)
    failed = error(ended(sync))
    assert isinstance(failed, TransientError)
    assert f"cluster:deployment/{name} of " in str(failed)
    assert f"the restart of deployment apps/{name} has failed: it makes no progress" in str(failed)
    cluster.finish(name, 2)
    completed(sync)
    assert cluster.restarts(name) == 1


def test_a_sync_of_many_restarts_once_in_a_task_of_its_own(
    lab: Lab, cluster: Cluster, prefect: PrefectServer, shop: tuple[str, list[Declared]]
) -> None:
    name, secrets = shop
    for secret in secrets:
        info: Any = lab.hub.describe(secret.path)
        lab.hub.write(secret.path, SecretFields({"value": fresh()}), cas=info.version)
    state = ended(sync)
    assert state.is_completed()
    assert (cluster.restarts(name), cluster.restarts(f"{name}-other")) == (1, 1)
    assert attempts(prefect, state, "restart who uses the copies")["restart who uses the copies"] == 1
