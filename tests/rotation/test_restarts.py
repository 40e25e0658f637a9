"""The workloads that use a copy: restarted after a rotation, and their rollout is evidence for the old one's end."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import TransientError
from keyturn.core.overrides import Waive
from keyturn.core.ports.ledger import Entry
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.copies.restarts import join_groups, restarted_later, restarted_together
from keyturn.rotation.outcome import unsettled
from keyturn.rotation.retire import on_it, retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import remote, with_copy
from tests.support.cluster import Cluster, running
from tests.support.hooks import Replaced
from tests.support.lab import Declared, Lab


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


class Shop:
    """A secret with a copy in the cluster, and a Deployment that uses it."""

    def __init__(self, lab: Lab, cluster: Cluster, *declared: Declared, user: str = "keyturn") -> None:
        self.cluster, self.store = cluster, cluster.store(user)
        self.secrets = declared
        self.path, self.name = declared[0].path, remote(declared[0])
        opened = lab.open(*declared, stores=lambda _: self.store, store_settings=cluster.settings(user))
        self.workspace, self.clock = opened.workspace, opened.clock

    def deploy(self, **spec: Any) -> None:
        """It has begun with what was there before."""
        sync_destinations(self.workspace, self.path)
        self.cluster.deploy(self.name, [self.name], **{"replicas": 3, **spec})
        self.cluster.hold(self.name)

    def held_by(self, waive: Waive = Waive.NOTHING) -> tuple[str, ...]:
        return retire(self.workspace, self.path, waive).held_by


@pytest.fixture
def shop(lab: Lab, cluster: Cluster) -> Iterator[Shop]:
    made = Shop(lab, cluster, with_copy(lab.alternating()))
    yield made
    made.store.close()


def test_the_old_credential_waits_for_the_rollout(lab: Lab, shop: Shop) -> None:
    shop.deploy()
    old = lab.current(shop.secrets[0])
    outcome = rotate(shop.workspace, shop.path, Trigger.FORCE)
    assert (unsettled(outcome), shop.cluster.restarts(shop.name)) == (None, 1)
    label = f"deployment apps/{shop.name}"
    assert shop.held_by() == (f"{label} has not finished its rollout of version 2: 0 of 3 replicas",)
    shop.cluster.report(shop.name, updatedReplicas=1)
    assert shop.held_by() == (f"{label} has not finished its rollout of version 2: 1 of 3 replicas",)
    seen = on_it(shop.workspace, shop.path)
    assert seen is not None
    assert seen.held_by == shop.held_by()
    shop.cluster.fail(shop.name)
    why = "it makes no progress within its deadline: 1 of 3 replicas"
    assert shop.held_by() == (f"the rollout of version 2 to {label} has failed: {why}",)
    assert lab.logs_in(old)
    shop.cluster.finish(shop.name, 3)
    assert retire(shop.workspace, shop.path).retired
    assert not lab.logs_in(old)
    assert shop.cluster.restarts(shop.name) == 1


def test_max_grace_ends_it_all_the_same_and_so_does_a_suspicion(lab: Lab, cluster: Cluster) -> None:
    shop = Shop(lab, cluster, with_copy(lab.alternating(grace="1h", max_grace="2h")))
    shop.deploy()
    rotate(shop.workspace, shop.path, Trigger.FORCE)
    shop.clock.advance(timedelta(hours=1))
    assert len(shop.held_by()) == 1
    shop.clock.advance(timedelta(hours=1))
    retirement = retire(shop.workspace, shop.path)
    assert retirement.retired
    assert "has not finished its rollout of version 2" in retirement.cut_off[0]
    old = lab.current(shop.secrets[0])
    outcome = rotate(shop.workspace, shop.path, Trigger.COMPROMISE)
    assert outcome.previous.startswith("ended")
    assert not lab.logs_in(old)


def test_what_can_not_be_looked_at_is_not_finished(lab: Lab, cluster: Cluster) -> None:
    shop = Shop(lab, cluster, with_copy(lab.alternating()))
    shop.deploy()
    rotate(shop.workspace, shop.path, Trigger.FORCE)
    shop.cluster.finish(shop.name, 3)
    shop.store = cluster.store("writer")
    shop.workspace = dataclasses.replace(shop.workspace, open_store=lambda _: shop.store)
    (why,) = shop.held_by()
    assert why.startswith(f"it is unknown whether the workloads that use {shop.name} are restarted: look at memory:*")
    assert "the verb list on deployments" in why


def test_a_restart_that_is_refused_fails_the_run_and_the_next_makes_up_for_it(lab: Lab, cluster: Cluster) -> None:
    shop = Shop(lab, cluster, with_copy(lab.alternating()), user="looker")
    shop.deploy()
    outcome = rotate(shop.workspace, shop.path, Trigger.FORCE)
    error = unsettled(outcome)
    assert isinstance(error, TransientError)
    assert "who uses it is not restarted: restart memory:deployment" in str(error)
    assert "the verb patch on deployments" in str(error)
    assert f"who uses {shop.name} is not restarted yet for version 2" in shop.held_by()
    shop.store = cluster.store()
    workspace = dataclasses.replace(shop.workspace, open_store=lambda _: shop.store)
    again = rotate(workspace, shop.path)
    assert ([one.state for one in again.destinations], unsettled(again)) == ([CopyState.IN_STEP], None)
    assert cluster.restarts(shop.name) == 1


def test_a_run_that_ends_between_copy_and_restart_leaves_it_to_the_next(shop: Shop) -> None:
    shop.deploy()

    class Killed(BaseException):
        """A SIGKILL, as far as the code can tell."""

    def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    killed: Any = Replaced(shop.store, restart_users=dies)
    with pytest.raises(Killed):
        rotate(dataclasses.replace(shop.workspace, open_store=lambda _: killed), shop.path, Trigger.FORCE)
    assert shop.cluster.restarts(shop.name) == 0
    assert shop.held_by() == (f"who uses {shop.name} is not restarted yet for version 2",)
    rotate(shop.workspace, shop.path)
    assert shop.cluster.restarts(shop.name) == 1


def test_several_secrets_of_one_workload_are_restarted_for_together(lab: Lab, cluster: Cluster) -> None:
    declared = [with_copy(lab.generated()) for _ in range(3)]
    shop = Shop(lab, cluster, *declared)
    one, two, alone = declared
    for each in declared:
        sync_destinations(shop.workspace, each.path)
    cluster.deploy(shop.name, [remote(one), remote(two)])
    cluster.deploy(remote(alone), [remote(alone)])
    assert restarted_together(shop.workspace, [each.path for each in declared]) == [{one.path, two.path}]
    assert restarted_together(shop.workspace, [one.path, alone.path]) == []
    with restarted_later():
        rotate(shop.workspace, one.path, Trigger.FORCE)
    assert cluster.restarts(shop.name) == 0
    rotate(shop.workspace, two.path, Trigger.FORCE)
    assert cluster.restarts(shop.name) == 1
    # The first one's note goes with whoever looks next; nobody is restarted once more for it.
    rotate(shop.workspace, one.path)
    assert cluster.restarts(shop.name) == 1
    shop.store = cluster.store("writer")
    blind = dataclasses.replace(shop.workspace, open_store=lambda _: shop.store)
    assert restarted_together(blind, [one.path, two.path]) == []


def test_the_ledger_tells_who_was_restarted(shop: Shop) -> None:
    shop.deploy()
    written: list[Entry] = []

    ledger: Any = Replaced(shop.workspace.ledger, append=written.extend)
    rotate(dataclasses.replace(shop.workspace, ledger=ledger), shop.path, Trigger.FORCE)
    told = [(one.outcome, one.place, one.note) for one in written if one.action == "restart"]
    assert told == [
        ("begun", "memory", f"who uses {shop.name}"),
        ("done", "memory", f"deployment apps/{shop.name}"),
    ]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], []),
        (["ab", "cd"], ["ab", "cd"]),
        (["ab", "cd", "bc"], ["abcd"]),
        (["ab", "b", "de", "ea"], ["abde"]),
    ],
)
def test_groups_that_share_a_member_are_one(groups: list[str], expected: list[str]) -> None:
    found = join_groups(frozenset(group) for group in groups)
    assert sorted("".join(sorted(group)) for group in found) == expected
