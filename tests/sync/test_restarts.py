"""A sync of many secrets restarts each workload once, after the last of them; what has failed of it is an alarm."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Denied, Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies import store_status
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result
from keyturn.sync.batches import bring_in_step
from keyturn.sync.plan import plan
from keyturn.sync.restarts import remarks, restart_all
from keyturn.sync.run import carry_out, failing_copies, local_executor
from keyturn.wiring.registry import open_workspace
from tests.support.cluster import Cluster, running
from tests.support.lab import ANY_UNDECLARED, Lab, fresh

pytestmark = pytest.mark.sampled(4, of="file")

ROOT = Path(__file__).parents[2]
SECRETS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@dataclass
class Folder:
    """Five secrets of the hub, each a Secret of the cluster, and a Deployment that uses all of them."""

    lab: Lab
    cluster: Cluster
    user: str = "keyturn"
    name: str = field(default_factory=fresh)

    @property
    def catalogue(self) -> dict[str, Any]:
        """The folder, and the store."""
        sync = {"paths": [f"{self.name}/*"], "stores": ["cluster"], "separator": "-"}
        settings = self.cluster.settings(self.user, writes_per_second=100_000)
        return {"id": self.name, "stores": {"cluster": settings}, "syncs": {"all": sync}, "policy": ANY_UNDECLARED}

    def workspace(self) -> Workspace:
        """One opened anew, as a new process would."""
        return open_workspace(Catalogue.model_validate(self.catalogue), self.lab.hub)

    def write(self, *names: str) -> None:
        """Newer versions in the hub."""
        for name in names:
            info = self.lab.hub.describe(f"{self.name}/{name}")
            self.lab.hub.write(f"{self.name}/{name}", SecretFields({"v": fresh()}), cas=info.version if info else 0)

    def run(self, *paths: str) -> tuple[list[Result], dict[str, str]]:
        """Plan and apply; the results, and what is failing in which words."""
        workspace = self.workspace()
        planned = plan(workspace, [f"{self.name}/{path}" for path in paths], unseen=True)
        results = carry_out(workspace, planned, local_executor(Applier(workspace)))
        return results, {label: one.error for label, one in failing_copies(planned, results).items()}

    def deploy(self) -> None:
        """It has begun with what was there before."""
        self.write(*SECRETS)
        self.run()
        self.cluster.deploy(self.name, [f"{self.name}-{one}" for one in SECRETS], replicas=2)

    def remarks(self) -> list[str]:
        """What `keyturn status` says besides."""
        return remarks(self.workspace(), plan(self.workspace()))

    @property
    def restarts(self) -> int:
        """How often the Deployment was restarted."""
        return self.cluster.restarts(self.name)

    def child(self) -> "subprocess.Popen[str]":
        """Another process that does the same, and tells each copy as it is done."""
        command = [sys.executable, "-m", "tests.sync.killed_child", self.lab.world.to_json()]
        catalogue = Catalogue.model_validate(self.catalogue).model_dump_json(exclude_unset=True)
        return subprocess.Popen([*command, catalogue], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def folder(lab: Lab, cluster: Cluster) -> Folder:
    made = Folder(lab, cluster)
    made.deploy()
    return made


def test_five_secrets_in_one_run_are_one_restart(folder: Folder) -> None:
    folder.write(*SECRETS)
    results, behind = folder.run()
    assert ([one.state for one in results], behind) == (["updated"] * 5, {})
    assert folder.restarts == 1
    assert folder.run() == ([], {})
    assert folder.restarts == 1


def test_a_run_that_died_before_the_restart_is_made_up_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a", "b")
    with monkeypatch.context() as killed:
        killed.setattr("keyturn.sync.run.restart_all", lambda *_: [])
        folder.run()
    assert folder.restarts == 0
    assert folder.remarks() == [
        f"cluster: who uses {folder.name}-{one} is not restarted yet: the next sync does it" for one in ("a", "b")
    ]
    assert folder.run("a") == ([], {})
    assert folder.restarts == 1
    assert folder.run() == ([], {})
    assert folder.restarts == 1
    assert folder.remarks() == []


def test_a_follower_restarts_for_what_it_has_written_alone(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fan-out that is at work restarts for all of its secrets at its end."""
    folder.write("a")
    with monkeypatch.context() as busy:
        busy.setattr("keyturn.sync.run.restart_all", lambda *_: [])
        folder.run("a")
    assert bring_in_step(folder.workspace(), [f"{folder.name}/a"], frozenset()).failing == {}
    assert folder.restarts == 0
    folder.write("b")
    assert bring_in_step(folder.workspace(), [f"{folder.name}/b"], frozenset()).failing == {}
    assert folder.restarts == 1


@pytest.mark.slow
def test_two_runs_at_once_restart_for_each_content_once(folder: Folder) -> None:
    folder.write(*SECRETS)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: folder.run()[0], range(2)))
    assert [one.error for results in found for one in results if one.error and one.kind != "Conflict"] == []
    assert folder.run()[1] == {}
    once = folder.restarts
    assert 1 <= once <= 2
    assert folder.run() == ([], {})
    assert folder.restarts == once


@pytest.mark.slow
def test_a_process_that_is_killed_between_two_copies_loses_no_restart(folder: Folder) -> None:
    folder.write(*SECRETS)
    with folder.child() as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        child.kill()
    assert folder.run()[1] == {}
    assert 1 <= folder.restarts <= 2
    assert folder.remarks() == []
    assert folder.run() == ([], {})


def test_a_failed_rollout_is_an_alarm_until_it_is_done(folder: Folder) -> None:
    folder.cluster.hold(folder.name)
    folder.write("a")
    assert folder.run()[1] == {}
    label = f"deployment apps/{folder.name}"
    assert folder.remarks() == [f"cluster: {label} is not done with its rollout: 0 of 2 replicas"]
    folder.cluster.fail(folder.name)
    said = f"the restart of {label} has failed: it makes no progress within its deadline: 0 of 2 replicas"
    results, behind = folder.run()
    assert behind == {f"cluster:deployment/{folder.name}": said}
    assert [(one.action, one.path, one.kind) for one in results] == [("restart", f"{folder.name}/a", "RolloutFailed")]
    kept = store_status.load_store_status(folder.workspace(), "cluster")[0]
    assert (kept.in_step, {name: one.error for name, one in kept.failing.items()}) == (
        5,
        {f"deployment/{folder.name}": said},
    )
    assert folder.remarks() == [f"cluster: {said}"]
    folder.cluster.finish(folder.name, 2)
    assert folder.run() == ([], {})
    assert store_status.load_store_status(folder.workspace(), "cluster")[0].failing == {}
    # What somebody else rolls out later, and badly, is not ours to tell.
    folder.cluster.patch(folder.name, {"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}})
    folder.cluster.fail(folder.name)
    assert folder.run() == ([], {})


@pytest.mark.parametrize(("user", "named"), [("writer", "list"), ("looker", "patch")])
def test_a_restart_that_is_refused_fails_the_copies_that_it_is_owed_for(
    lab: Lab, cluster: Cluster, user: str, named: str
) -> None:
    less = Folder(lab, cluster)
    less.deploy()
    less.user = user
    less.write("a")
    results, behind = less.run()
    assert list(behind) == [f"cluster:{less.name}-a"]
    assert behind[f"cluster:{less.name}-a"].startswith("who uses it is not restarted: ")
    assert f"the verb {named} on deployments" in behind[f"cluster:{less.name}-a"]
    assert [one.kind for one in results if one.error] == [Denied.__name__]
    assert list(less.run()[1]) == [f"cluster:{less.name}-a"], "the next run, which writes nothing, says it again"
    less.user = "keyturn"
    assert less.run() == ([], {})
    assert less.restarts == 1


def test_workloads_that_can_not_be_looked_at_are_said_although_nothing_is_owed(lab: Lab, cluster: Cluster) -> None:
    less = Folder(lab, cluster)
    less.deploy()
    less.user = "writer"
    assert list(less.run()[1]) == ["cluster:workloads"]
    assert less.remarks()[0].startswith("cluster: it is unknown whether workloads are restarted: look at")


def test_a_store_that_can_not_be_opened_hides_nothing_of_the_others(lab: Lab, cluster: Cluster) -> None:
    folder = Folder(lab, cluster)
    folder.write("a")
    whole = folder.workspace()

    def without_its_package(name: str) -> Any:
        raise Invalid("open", f"the store {name}", "the package kubernetes is missing", "Install keyturn[kubernetes]")

    workspace = replace(whole, open_store=without_its_package)
    planned = plan(workspace)
    why = "cluster: it is unknown whether workloads are restarted: open the store cluster: the package kubernetes is"
    assert [line[: len(why)] for line in remarks(workspace, planned)] == [why]
    assert {result.kind for result in restart_all(workspace, planned)} == {Invalid.__name__}
