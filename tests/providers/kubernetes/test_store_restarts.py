"""Who uses a Secret is restarted once for all that was written, and its rollout is looked at."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.core.errors import Conflict, Denied
from keyturn.core.ports.merged_keys import NOTE, Change
from keyturn.core.ports.rollouts import Rollout, RolloutState, restarter
from keyturn.core.ports.stores import Details, RemoteSecret, Store
from keyturn.core.sensitive import Sensitive
from keyturn.providers.kubernetes import restart as kubernetes_restart
from keyturn.providers.kubernetes.restart import RESTARTED_AT, ROLLED_OUT
from keyturn.providers.kubernetes.store import Kubernetes
from tests.contracts.store import fresh_value, marks_for, put
from tests.support.cluster import NAMESPACE, Cluster, running
from tests.support.hooks import Once

ROLLING, FINISHED, FAILED, OWED = RolloutState.ROLLING, RolloutState.FINISHED, RolloutState.FAILED, RolloutState.OWED


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Kubernetes]:
    opened = cluster.store()
    yield opened
    opened.close()


@pytest.fixture
def name() -> str:
    """Of a Secret, and of whoever uses it."""
    return f"shop-{secrets.token_hex(4)}"


def states(store: Kubernetes, *names: str, note: bool = True) -> dict[str, RolloutState]:
    return {one.name: one.state for one in store.rollouts(names, note=note)}


def only(store: Kubernetes, name: str, *, note: bool = True) -> Rollout:
    (told,) = store.rollouts([name], note=note)
    return told


def found(store: Kubernetes, name: str) -> RemoteSecret:
    there = store.describe(name)
    assert there is not None
    return there


# --- once --------------------------------------------------------------------------------------------------


def test_five_secrets_are_one_restart(store: Kubernetes, cluster: Cluster, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    cluster.deploy(name, names)
    cluster.deploy(f"{name}-other", [f"{name}-of-others"])
    for one in names:
        put(store, one, fresh_value())
    assert cluster.restarts(name) == 0
    assert store.owed(names) == names
    assert [one.workload for one in store.restart_users(names)] == [f"deployment {NAMESPACE}/{name}"]
    assert (cluster.restarts(name), cluster.restarts(f"{name}-other")) == (1, 0)
    assert store.owed(names) == []
    assert store.restart_users(names) == []
    put(store, names[2], fresh_value(), version=2)
    store.restart_users(names)
    assert cluster.restarts(name) == 2


def test_a_process_that_ends_between_restart_and_note_restarts_nobody_twice(
    store: Kubernetes, cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    with monkeypatch.context() as killed:
        killed.setattr(kubernetes_restart.Restarter, "_settle", lambda *_: None)
        store.restart_users([name])
    assert store.owed([name]) == [name]
    assert store.restart_users([name]) == []
    assert store.owed([name]) == []
    assert cluster.restarts(name) == 1


def test_two_at_once_restart_once(store: Kubernetes, cluster: Cluster, name: str) -> None:
    """One has looked at the workload, and another restarts it before the first does."""
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    other, restarter = cluster.store(), store._restarter
    quicker = Once(lambda: other.restart_users([name]))

    def ours() -> Any:
        quicker()
        return restarter.ours()

    assert replace(restarter, ours=ours).restart([name]) == []
    assert cluster.restarts(name) == 1
    assert store.owed([name]) == []


def test_what_is_written_between_is_restarted_for_by_whoever_wrote_it(
    store: Kubernetes, cluster: Cluster, name: str
) -> None:
    """The first has looked at both, and patches what has become another version."""
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    other, ours = cluster.store(), store._restarter.ours

    def written_after() -> Any:
        seen = ours()
        if cluster.restarts(name) == 0:
            put(other, name, fresh_value(), version=2)
            other.restart_users([name])
        return seen

    assert replace(store._restarter, ours=written_after).restart([name]) == []
    assert cluster.restarts(name) == 1
    assert store.owed([name]) == []


def test_a_note_of_a_newer_write_stays(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    seen = store._ours()[name]
    put(store, name, fresh_value(), version=2)
    store._restarter._settle(seen)
    assert store.owed([name]) == [name]


def test_a_workload_that_others_keep_changing_is_said(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    ours = store._restarter.ours

    def changed() -> Any:
        cluster.patch(name, {"metadata": {"labels": {"l": secrets.token_hex(4)}}})
        return ours()

    with pytest.raises(Conflict, match=f"memory:deployment {name}.* others keep changing it"):
        replace(store._restarter, ours=changed).restart([name])
    assert store.owed([name]) == [name]


@pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])
@pytest.mark.parametrize("way", ["env", "init", "envFrom", "volume", "projected", "pull"])
def test_every_way_of_using_it_is_seen(store: Kubernetes, cluster: Cluster, name: str, kind: str, way: str) -> None:
    for one in (name, f"{name}-other"):
        cluster.deploy(one, [], kind)
        cluster.patch(one, {"spec": {"template": {"spec": using(way, one)}}}, kind)
    put(store, name, fresh_value())
    assert [one.remotes for one in store.restart_users([name])] == [(name,)]
    assert cluster.restarted_for(name, kind)
    assert cluster.restarted_for(f"{name}-other", kind) is None


def test_the_same_value_restarts_nobody(store: Kubernetes, cluster: Cluster, name: str) -> None:
    value = fresh_value()
    put(store, name, value)
    store.restart_users([name])
    cluster.deploy(name, [name])
    put(store, name, value)
    put(store, name, value, version=2)
    details = Details({"team": "pay"})
    store.relabel(name, replace(marks_for(value, 2), tags=details.names), details, found(store, name))
    put(store, name, value, version=2, details=Details({"team": "shop"}))
    assert store.restart_users([name]) == []
    assert cluster.restarted_for(name) is None


@pytest.mark.parametrize("between", ["changed by somebody", "written and not restarted for"])
def test_pods_that_may_have_begun_with_another_value_are_restarted_for_the_same_one(
    store: Kubernetes, cluster: Cluster, name: str, between: str
) -> None:
    cluster.deploy(name, [name])
    value = fresh_value()
    put(store, name, value)
    store.restart_users([name])
    if between == "changed by somebody":
        cluster.core.patch_namespaced_secret(name, NAMESPACE, {"stringData": {"value": "other"}})
    else:
        put(store, name, fresh_value(), version=2)
    put(store, name, value, version=3)
    store.restart_users([name])
    assert cluster.restarts(name) == 2
    assert kubernetes_restart.content_digest([store._ours()[name]]) == cluster.restarted_for(name)


def test_a_setting_that_is_off_restarts_nobody(cluster: Cluster, name: str) -> None:
    still = cluster.store(restart=False)
    cluster.deploy(name, [name])
    put(still, name, fresh_value())
    assert still.owed([name]) == []
    assert restarter(still) is None
    with_restarts: Store = cluster.store()
    assert restarter(with_restarts) is with_restarts


def test_keys_in_a_secret_of_others_are_restarted_for_together_with_our_own(
    store: Kubernetes, cluster: Cluster, name: str
) -> None:
    cluster.deploy(name, [name, f"{name}-theirs"])
    put(store, name, fresh_value())
    shared, note = store.shared, {f"{NOTE}x": "a note"}
    shared.put(f"{name}-theirs", Change(put={"a": "1"}, tags=note), None)
    both = [name, f"{name}-theirs"]
    assert store.owed(both) == both
    assert [one.remotes for one in store.restart_users(both)] == [tuple(both)]
    assert (store.owed(both), cluster.restarts(name)) == ([], 1)
    shared.put(f"{name}-theirs", Change(tags=note), shared.look(f"{name}-theirs"))
    assert store.restart_users(both) == []
    shared.put(f"{name}-theirs", Change(put={"a": "2"}), shared.look(f"{name}-theirs"))
    assert len(store.restart_users(both)) == 1
    put(store, name, fresh_value(), version=2)
    assert len(store.restart_users([name])) == 1
    assert (store.owed(both), cluster.restarts(name)) == ([], 3)


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "verb"), [("writer", "list"), ("looker", "patch")])
def test_what_is_refused_is_owed_still_and_named(
    store: Kubernetes, cluster: Cluster, name: str, user: str, verb: str
) -> None:
    cluster.deploy(name, [name])
    less = cluster.store(user)
    written = put(less, name, fresh_value())
    with pytest.raises(Denied, match=f"the verb {verb} on deployments in namespace apps"):
        less.restart_users([name])
    assert store.describe(name) == written
    assert written.intact
    assert store.owed([name]) == [name]
    assert states(store, name) == {"/": OWED, f"deployment/{name}": FINISHED}
    store.restart_users([name])
    assert cluster.restarts(name) == 1


def test_one_workload_that_can_not_be_restarted_stops_no_other(
    store: Kubernetes, cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.deploy(f"{name}-a", [name])
    cluster.deploy(f"{name}-b", [name, f"{name}-2"])
    put(store, name, fresh_value())
    put(store, f"{name}-2", fresh_value())
    restarted = kubernetes_restart.Restarter._restarted

    def refusing(restarter: Any, workload: Any, contents: Any) -> Any:
        if workload.name == f"{name}-a":
            raise Denied("restart", "k8s:deployment a", "an admission policy")
        return restarted(restarter, workload, contents)

    monkeypatch.setattr(kubernetes_restart.Restarter, "_restarted", refusing)
    with pytest.raises(Denied, match="admission policy"):
        store.restart_users([name, f"{name}-2"])
    assert cluster.restarts(f"{name}-b") == 1
    assert store.owed([name, f"{name}-2"]) == [name]


# --- how far it is -----------------------------------------------------------------------------------------


def test_a_rollout_is_told_until_it_is_finished_and_that_is_kept(
    store: Kubernetes, cluster: Cluster, name: str
) -> None:
    cluster.deploy(name, [name], replicas=3)
    put(store, name, fresh_value())
    cluster.hold(name)
    store.restart_users([name])
    assert only(store, name) == Rollout(f"deployment {NAMESPACE}/{name}", ROLLING, "0 of 3 replicas", (name,))
    cluster.report(name, updatedReplicas=1)
    assert only(store, name).told == "1 of 3 replicas"
    cluster.finish(name, 3)
    assert only(store, name, note=False).state is FINISHED
    assert ROLLED_OUT not in (cluster.read(name).metadata.annotations or {})
    assert only(store, name).state is FINISHED
    assert cluster.restarts(name) == 1
    # What others roll out later takes nothing of that back.
    cluster.patch(name, {"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}})
    assert only(store, name).state is FINISHED
    # A later restart of ours does, also for a value that was there before.
    put(store, name, fresh_value(), version=2)
    store.restart_users([name])
    assert only(store, name).state is ROLLING


def test_a_value_that_returns_is_not_finished_by_its_first_rollout(
    store: Kubernetes, cluster: Cluster, name: str
) -> None:
    cluster.deploy(name, [name])
    first = fresh_value()
    put(store, name, first)
    store.restart_users([name])
    annotation = cluster.restarted_for(name)
    assert only(store, name).state is FINISHED
    put(store, name, fresh_value(), version=2)
    store.restart_users([name])
    cluster.hold(name)
    put(store, name, first, version=3)
    store.restart_users([name])
    assert cluster.restarted_for(name) == annotation
    assert only(store, name).state is ROLLING


def test_a_rollout_that_makes_no_progress_has_failed(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name], replicas=3)
    put(store, name, fresh_value())
    cluster.hold(name)
    store.restart_users([name])
    cluster.fail(name)
    told = only(store, name)
    assert (told.state, told.told) == (FAILED, "it makes no progress within its deadline: 0 of 3 replicas")
    cluster.finish(name, 3)
    assert only(store, name).state is FINISHED


def test_a_rollout_beyond_its_limit_has_failed(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name], "stateful_set", updateStrategy={"type": "OnDelete"})
    put(store, name, fresh_value())
    store.restart_users([name])
    assert only(store, name).state is ROLLING
    ago = (datetime.now(UTC) - timedelta(minutes=31)).isoformat()
    cluster.patch(name, {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: ago}}}}}, "stateful_set")
    told = only(store, name)
    assert told.state is FAILED
    assert told.told.startswith("it is not done after 30 min: 0 of 1 replicas; its update strategy is OnDelete")


def test_what_somebody_else_rolls_out_is_no_failure_of_ours(store: Kubernetes, cluster: Cluster, name: str) -> None:
    put(store, name, fresh_value())
    store.restart_users([name])
    cluster.hold(name)
    cluster.deploy(name, [name])
    cluster.fail(name)
    assert only(store, name).state is ROLLING


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("deployment", {"replicas": 0}, ""),
        ("deployment", {"replicas": 2, "paused": True}, "0 of 2 replicas; it is paused"),
        (
            "stateful_set",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "1 of 3 replicas; its",
        ),
        ("daemon_set", {"updateStrategy": {"type": "OnDelete"}}, "0 of 2 nodes; its update strategy is OnDelete"),
        ("daemon_set", {}, ""),
    ],
)
def test_what_keeps_old_pods_is_not_finished(
    store: Kubernetes, cluster: Cluster, name: str, kind: str, spec: dict[str, Any], expected: str
) -> None:
    cluster.deploy(name, [name], kind, **spec)
    put(store, name, fresh_value())
    store.restart_users([name])
    told = only(store, name)
    assert told.told.startswith(expected)
    assert told.state is (ROLLING if expected else FINISHED)


def test_a_workload_that_is_gone_is_waited_for_no_more(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name])
    put(store, name, fresh_value())
    restarter = store._restarter
    delete = Once(lambda: cluster.apps.delete_namespaced_deployment(name, NAMESPACE))

    def ours() -> Any:
        delete()
        return restarter.ours()

    assert replace(restarter, ours=ours).restart([name]) == []
    assert store.owed([name]) == []
    assert store.rollouts([name]) == []
    assert store.rollouts([f"{name}-absent"]) == []


def test_many_are_asked_for_by_a_listing(store: Kubernetes, cluster: Cluster, name: str) -> None:
    names = [f"{name}-{number}" for number in range(12)]
    put(store, names[3], fresh_value())
    put(store, f"{name}-other", fresh_value())
    assert store.owed(names) == [names[3]]


def test_without_a_word_of_values(store: Kubernetes, cluster: Cluster, name: str) -> None:
    cluster.deploy(name, [name])
    value: Sensitive = fresh_value()
    put(store, name, value)
    store.restart_users([name])
    assert value.reveal() not in repr(store.rollouts([name]))
    assert marks_for(value).fingerprint[:12] not in (cluster.restarted_for(name) or "")


def using(way: str, secret: str) -> dict[str, Any]:
    """The specification of pods that use a Secret in this way."""
    container: dict[str, Any] = {"name": "main", "image": "image"}
    reference = {"valueFrom": {"secretKeyRef": {"name": secret, "key": "value"}}}
    ways: dict[str, dict[str, Any]] = {
        "env": {"containers": [{**container, "env": [{"name": "A", "value": "a"}, {"name": "B", **reference}]}]},
        "init": {"initContainers": [{**container, "name": "init", "env": [{"name": "B", **reference}]}]},
        "envFrom": {"containers": [{**container, "envFrom": [{"secretRef": {"name": secret}}]}]},
        "volume": {"volumes": [{"name": "v", "secret": {"secretName": secret}}]},
        "projected": {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": secret}}]}}]},
        "pull": {"imagePullSecrets": [{"name": secret}]},
    }
    return ways[way]
