"""Rows about copies: what leaves one out of sync, and what a new value would overwrite."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from keyturn.core.overrides import Waive
from keyturn.core.plan import Action
from keyturn.core.ports.ledger import NewestVersion
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run
from keyturn.rotation.run import rotate
from keyturn.sync.plan import plan
from tests.crash.site import Site
from tests.faults.doings import doing, restored, situation
from tests.faults.operators import STORE, Case
from tests.support.hooks import Replaced, raising
from tests.support.turning import hub_apart, turns
from tests.support.world import REGION
from tests.sync.drift.site import RealSite


class Killed(BaseException):
    """The worker is gone."""


@contextmanager
def killed_before_the_tags(case: Case) -> Iterator[None]:
    """A worker that ends between PutSecretValue and TagResource."""
    client = case.workspace.open_store(STORE)._client  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(client, "tag_resource", raising(Killed()))
        yield


def assert_in_sync(case: Case) -> None:
    """A plan that asks for the copy by itself finds nothing to do."""
    assert {item.action for item in plan(case.workspace, [case.path], deep=True).items} == {Action.IN_SYNC}


def rotated_and_retired(case: Case) -> None:
    """A rotation goes through, and the copy no longer holds back the end of the old credential."""
    assert case.rotate(end_previous=True) == "", case.said
    assert_in_sync(case)
    if case.retire(Waive.GRACE):  # AWS shows by the minute that the row itself has used the key
        assert case.retire(Waive.EVERYTHING) == "", case.said
    assert case.record().retiring is None
    case.assert_right()


@doing("kill a worker between an AWS copy's new version and its tags, then rotate")
def killed_between_two_calls(case: Case) -> None:
    with killed_before_the_tags(case):
        rotate(case.workspace, case.path, Trigger.FORCE)
    case.scheduled()
    assert_in_sync(case)
    for _ in range(2):
        rotated_and_retired(case)


@doing("kill a worker between an AWS copy's new version and its tags, then revoke")
def killed_and_revoked(case: Case) -> None:
    with killed_before_the_tags(case):
        rotate(case.workspace, case.path, Trigger.FORCE)
    case.scheduled()
    assert case.rotate(end_previous=True) == "", case.said
    leaked, incident = [*case.known], f"INC-{case.remote}"
    with killed_before_the_tags(case):
        case.revoke(incident=incident)
    case.note()
    assert not run.finish(replace(case.workspace, sleep=lambda seconds: None), incident).open
    assert not [one for one in leaked if case.kind.refuses and case.lives(one)]
    assert_in_sync(case)
    case.assert_right()


@doing("write another value into the copy, sync repairs it, then rotate")
def edited_and_rotated(case: Case) -> None:
    case.edit_copy()
    assert case.sync() == ""
    for _ in range(2):
        rotated_and_retired(case)


@situation("replace the key of the fingerprints, then rotate twice")
def key_replaced_and_rotated(site: Site) -> None:
    settings = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": site.aws.endpoint_url}
    with RealSite(site.lab, settings, {}) as copies, hub_apart(site.lab, copies.mount) as copies.hub:
        path = copies.write("a", x="1")
        copies.run()
        copies.store = copies.store.listing({copies.remote(path)})
        assert [step.step for step in turns(copies.workspace)][-1] == "retired"
        for value in ("2", "3"):
            copies.write("a", x=value)
            assert [result.state for result in copies.run(path)] == ["updated"]
            assert copies.item(path).action is Action.IN_SYNC


@restored("restore hub and ledger to the same time, rotate at once")
def restored_with_the_ledger(case: Case) -> None:
    served = case.copy()
    known = case.workspace.ledger.newest_versions

    def of_the_backup(secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        return {path: entry for path, entry in known(secrets).items() if entry.version <= case.newest()}

    ledger = Replaced(case.workspace.ledger, newest_versions=of_the_backup)
    case.workspace = replace(case.workspace, ledger=ledger)  # type: ignore[arg-type]
    assert f"keyturn repair recover {case.path}" in case.rotate()
    assert case.copy() == served
    assert case.recover() == "", case.said
    assert case.current() == served
    case.rotate_with_room()
    case.assert_right()
