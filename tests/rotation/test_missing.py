"""A deleted or destroyed current version is never replaced without an operator."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.core.errors import Invalid, Missing, NotFound
from keyturn.core.overrides import Waive
from keyturn.core.plan import Action
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.decide import sight
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from tests.rotation.helpers import Worker, remote, with_copy
from tests.support.hooks import eventually
from tests.support.lab import INTERVAL, Declared, Lab, Opened
from tests.support.world import REGION

pytestmark = pytest.mark.sampled(4, of="file")

EVERY_TRIGGER = (Trigger.SCHEDULE, Trigger.FORCE, Trigger.COMPROMISE, Trigger.EVENT)


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating())


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    """Rotated once, its copy in step."""
    opened = lab.open(secret)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    return opened


def deleted(lab: Lab, path: str) -> str:
    lab.root.secrets.kv.v2.delete_latest_version_of_secret(path)
    return "version 2, which is CURRENT, is deleted"


def destroyed(lab: Lab, path: str) -> str:
    lab.hub.destroy(path, [2])
    return "version 2, which is CURRENT, is destroyed"


def removed(lab: Lab, path: str) -> str:
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path)
    return "CURRENT is gone: the hub has no version of it, and its record knows version 2"


WAYS = (deleted, destroyed, removed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_nothing_is_made_over_a_current_that_can_not_be_read(
    lab: Lab, secret: Declared, opened: Opened, way: Callable[[Lab, str], str], trigger: Trigger
) -> None:
    served, copy = lab.current(secret), opened.store.read(remote(secret))
    said, before = way(lab, secret.path), load_record(opened.workspace, secret.path)
    opened.clock.advance(INTERVAL + timedelta(days=1))
    for _ in range(2):
        with pytest.raises(Missing, match=said) as refused:
            rotate(opened.workspace, secret.path, trigger)
    assert "Nothing was changed" in refused.value.hint
    assert f"keyturn repair recover {secret.path}" in refused.value.hint
    after = load_record(opened.workspace, secret.path)
    assert replace(after, age=0.0) == replace(before, age=0.0)
    assert lab.logs_in(served)
    assert opened.store.read(remote(secret)).reveal() == copy.reveal()


@pytest.mark.parametrize("way", WAYS)
def test_its_copies_are_left_alone_its_old_credential_too_and_every_look_says_so(
    lab: Lab, secret: Declared, opened: Opened, way: Callable[[Lab, str], str]
) -> None:
    copy, said = opened.store.read(remote(secret)).reveal(), way(lab, secret.path)
    (pushed,) = sync_destinations(opened.workspace, secret.path)
    assert pushed.state is CopyState.FAILED
    assert f"{said}; its copies are left alone" in pushed.error
    assert opened.store.read(remote(secret)).reveal() == copy
    held = retire(opened.workspace, secret.path)
    assert not held.retired
    assert held.held_by[0] == f"{said}: what is old may be all that works"
    assert lab.logs_in(secret.first)
    seen = sight(opened.workspace, secret.path)
    assert (seen.work, seen.alarm) == (True, said)


@pytest.mark.parametrize("way", WAYS)
def test_a_store_that_deletes_what_the_hub_has_no_more_keeps_the_copies_of_what_is_missing(
    lab: Lab, secret: Declared, way: Callable[[Lab, str], str]
) -> None:
    settings = {"kind": "aws-secrets-manager", "region": REGION, "deletion": "delete", "delete_after": "0s"}
    opened = lab.open(secret, store_settings=settings)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    copy, said = opened.store.read(remote(secret)).reveal(), way(lab, secret.path)
    (item,) = plan(opened.workspace, [secret.path], unseen=True).items
    assert (item.action, item.why) == (Action.BLOCKED, f"{said}; its copies are left alone")
    opened.clock.advance(timedelta(days=30))
    carry_out(
        opened.workspace, plan(opened.workspace, [secret.path], unseen=True), local_executor(Applier(opened.workspace))
    )
    assert opened.store.read(remote(secret)).reveal() == copy


def test_a_version_that_deletes_itself_is_no_other_case(lab: Lab, secret: Declared, opened: Opened) -> None:
    lab.root.secrets.kv.v2.update_metadata(secret.path, delete_version_after="1s")
    current = lab.hub.read(secret.path)
    assert current is not None
    version = lab.hub.write(secret.path, current.fields, cas=current.version)

    def gone() -> bool:
        info = lab.hub.describe(secret.path)
        return info is not None and not info.served

    assert eventually(gone)
    with pytest.raises(Missing, match=f"version {version}, which is CURRENT, is deleted"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)


def test_the_newest_version_given_back_is_current_again_and_is_rotated_as_ever(
    lab: Lab, secret: Declared, opened: Opened
) -> None:
    served = lab.current(secret)
    deleted(lab, secret.path)
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE, ground=2)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 3)
    assert lab.current(secret)["username"] == secret.users[0]
    assert lab.current(secret)["host"] == served["host"]
    assert lab.logs_in(served), "the one before has its grace"


def test_an_older_version_is_the_ground_of_the_next_and_never_in_force_itself(
    lab: Lab, secret: Declared, opened: Opened
) -> None:
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    served = lab.current(secret)
    destroyed(lab, secret.path)
    with pytest.raises(Invalid, match="names the credential that version 2 replaced: who serves now would get a new"):
        rotate(opened.workspace, secret.path, Trigger.FORCE, ground=1)
    assert lab.logs_in(served)
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE, ground=1, end_previous=True)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 3)
    current = lab.current(secret)
    assert lab.logs_in(current)
    assert (current["host"], current["port"]) == (secret.first["host"], secret.first["port"])
    assert load_record(opened.workspace, secret.path).rest is None


@pytest.mark.parametrize(
    ("version", "why"), [(2, "version 2 is destroyed"), (7, "version 7 is gone")], ids=["destroyed", "never there"]
)
def test_a_ground_that_can_not_be_had_is_refused_and_what_there_is_is_named(
    lab: Lab, secret: Declared, opened: Opened, version: int, why: str
) -> None:
    destroyed(lab, secret.path)
    with pytest.raises(NotFound, match=why) as refused:
        rotate(opened.workspace, secret.path, Trigger.FORCE, ground=version)
    assert refused.value.hint == "There is: 1"


def test_a_ground_is_for_what_is_missing_alone(secret: Declared, opened: Opened) -> None:
    with pytest.raises(Invalid, match="its CURRENT is not missing"):
        rotate(opened.workspace, secret.path, Trigger.FORCE, ground=1)


def test_a_rotation_that_is_open_waits_too_and_goes_on_once_current_is_back(
    lab: Lab, secret: Declared, opened: Opened
) -> None:
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    run = Worker(opened.workspace, secret.path)
    attempt = run.verified()
    deleted(lab, secret.path)
    with pytest.raises(Missing, match="version 2, which is CURRENT, is deleted"):
        rotate(opened.workspace, secret.path)
    with pytest.raises(Missing, match="version 2, which is CURRENT, is deleted"):
        steps.promote(opened.workspace, steps.resume(opened.workspace, secret.path, attempt.rotation.token))
    lab.hub.undelete(secret.path, [2])
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED
    assert SecretFields(lab.current(secret)).holds(attempt.candidate)


def test_a_first_version_ever_is_made_as_before(lab: Lab) -> None:
    secret = lab.generated()
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(secret.path)
    assert rotate(lab.open(secret).workspace, secret.path).version == 1
