"""A revocation restarts workloads that use the copies, without delaying the cut."""

import dataclasses
from collections.abc import Iterator

import pytest

from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Step
from keyturn.revocation.selector import Selection
from keyturn.rotation.run import rotate
from tests.rotation.helpers import remote, with_copy
from tests.support.cluster import Cluster, running
from tests.support.lab import Lab, Opened, fresh


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def revoked(opened: Opened, path: str) -> IncidentStatus:
    workspace, incident = dataclasses.replace(opened.workspace, sleep=lambda seconds: None), f"INC-{fresh()}"
    run.begin(
        workspace,
        Selection((path,)),
        incident=incident,
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=opened.clock(),
        consent=Consent(1),
    )
    return run.finish(workspace, incident)


@pytest.mark.parametrize("user", ["keyturn", "looker"])
def test_who_uses_a_copy_is_restarted_after_the_cut(lab: Lab, cluster: Cluster, user: str) -> None:
    secret = with_copy(lab.alternating())
    name, store = remote(secret), cluster.store(user)
    opened = lab.open(secret, stores=lambda _: store, store_settings=cluster.settings(user))
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    cluster.deploy(name, [name], replicas=2)
    cluster.hold(name)
    leaked = lab.current(secret)
    stands = revoked(opened, secret.path)
    (progress,) = stands.secrets
    assert not lab.logs_in(leaked)
    assert lab.logs_in(lab.current(secret))
    told = [one.said for one in progress.events if (one.step, one.place) == (Step.PUSH, "memory")]
    if user == "keyturn":
        assert (stands.open, cluster.restarts(name)) == (False, 1)
        assert told == [f"restarted deployment apps/{name}"]
    else:
        assert (stands.open, cluster.restarts(name)) == (True, 0)
        assert [one for one in stands.left if "the verb patch on deployments" in one]
