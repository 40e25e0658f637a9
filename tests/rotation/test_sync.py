"""Carrying CURRENT to its destinations."""

from typing import Any

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import CopyState, Pushed, look_at_copies, sync_destinations
from keyturn.rotation.state.context import Workspace
from tests.rotation.helpers import remote, with_copy, worker
from tests.support.hooks import Hooked, Once
from tests.support.lab import Declared, Lab, Opened, fresh


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.generated())


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret)


def one(pushed: list[Pushed]) -> Pushed:
    (only,) = pushed
    return only


def serves_current(lab: Lab, opened: Opened, secret: Declared) -> bool:
    return opened.store.read(remote(secret)) == payload(SecretFields(lab.current(secret)))


def test_a_copy_is_made_then_updated_then_left_alone(lab: Lab, opened: Opened, secret: Declared) -> None:
    assert one(sync_destinations(opened.workspace, secret.path)).state is CopyState.CREATED
    assert one(sync_destinations(opened.workspace, secret.path)).state is CopyState.IN_STEP
    lab.hub.write(secret.path, SecretFields({**secret.first, "value": "new"}), cas=1)
    pushed = one(sync_destinations(opened.workspace, secret.path))
    assert (pushed.state, pushed.version) == (CopyState.UPDATED, 2)
    assert opened.store.writes == 2
    assert serves_current(lab, opened, secret)


def test_a_copy_carries_its_source_its_version_and_a_keyed_fingerprint(opened: Opened, secret: Declared) -> None:
    pushed = one(sync_destinations(opened.workspace, secret.path))
    copy = opened.store.describe(remote(secret))
    assert copy is not None
    current = opened.workspace.hub.read(secret.path)
    assert current is not None
    marks = OwnershipTags(secret.path, 1, pushed.fingerprint, created_at=current.created_at, catalogue="default")
    assert copy.marks == marks
    assert pushed.fingerprint == opened.workspace.fingerprint(secret.path, SecretFields(secret.first))


def test_a_copy_changed_by_hand_is_mended(lab: Lab, opened: Opened, secret: Declared) -> None:
    sync_destinations(opened.workspace, secret.path)
    opened.store.put_by_hand(remote(secret), "changed")
    assert one(sync_destinations(opened.workspace, secret.path)).state is CopyState.UPDATED
    assert serves_current(lab, opened, secret)


def test_the_same_value_under_a_newer_version_is_not_written_again(lab: Lab, opened: Opened, secret: Declared) -> None:
    sync_destinations(opened.workspace, secret.path)
    lab.hub.write(secret.path, SecretFields(secret.first), cas=1)
    pushed = one(sync_destinations(opened.workspace, secret.path))
    assert (pushed.state, pushed.version, opened.store.writes) == (CopyState.IN_STEP, 2, 1)


def test_what_is_not_ours_is_taken_over_where_the_catalogue_says_so(lab: Lab) -> None:
    secret = with_copy(lab.generated(), adopt=True)
    opened = lab.open(secret)
    opened.store.put_by_hand(remote(secret), "theirs")
    assert one(sync_destinations(opened.workspace, secret.path)).state is CopyState.UPDATED
    assert serves_current(lab, opened, secret)


def test_one_destination_that_fails_stops_no_other(lab: Lab) -> None:
    made = lab.generated()
    names = [f"{remote(made)}-{number}" for number in range(5)]
    secret = made.having(destinations=tuple({"store": "memory", "name": name} for name in [*names, "not legal!"]))
    opened = lab.open(secret)
    opened.store.put_by_hand(names[2], "theirs")
    pushed = {copy.name: copy for copy in sync_destinations(opened.workspace, secret.path)}
    assert {name for name, copy in pushed.items() if not copy.in_step} == {names[2], "not legal!"}
    assert "Change the name or the value" in pushed["not legal!"].error


def test_a_value_beyond_the_stores_limit_is_not_written(lab: Lab, opened: Opened, secret: Declared) -> None:
    lab.hub.write(secret.path, SecretFields({"value": "x" * 70_000}), cas=1)
    pushed = one(sync_destinations(opened.workspace, secret.path))
    assert pushed.state is CopyState.FAILED
    assert opened.store.writes == 0


def test_a_store_that_is_down_is_told_and_not_raised(opened: Opened, secret: Declared) -> None:
    opened.store.down = Unavailable("find", "memory:x", "it is down", "Wait")
    assert one(sync_destinations(opened.workspace, secret.path)).error == str(opened.store.down)


def test_a_secret_without_a_version_has_nothing_to_push(lab: Lab, secret: Declared) -> None:
    absent = Declared(f"tests/{fresh()}", secret.data, {})
    opened = lab.open(absent)
    assert "the hub has no version of it" in one(sync_destinations(opened.workspace, absent.path)).error


def test_a_secret_without_destinations_is_in_step(lab: Lab) -> None:
    secret = lab.generated()
    assert sync_destinations(lab.open(secret).workspace, secret.path) == []


def test_looking_writes_nothing(opened: Opened, secret: Declared) -> None:
    assert look_at_copies(opened.workspace, secret.path)[0].state is CopyState.STALE
    assert opened.store.writes == 0
    sync_destinations(opened.workspace, secret.path)
    assert look_at_copies(opened.workspace, secret.path)[0].state is CopyState.IN_STEP


def storing(opened: Opened, **hooks: Any) -> Workspace:
    hooked = Hooked(opened.store, **hooks)
    return Workspace(**{**vars(opened.workspace), "open_store": lambda name: hooked})


def test_a_slow_run_does_not_leave_an_older_value_behind(lab: Lab, opened: Opened, secret: Declared) -> None:
    """CURRENT moves on, and is pushed by another run, between this one's reading and its writing."""

    def quicker() -> None:
        lab.hub.write(secret.path, SecretFields({**secret.first, "value": "newer"}), cas=1)
        sync_destinations(opened.workspace, secret.path)

    pushed = one(sync_destinations(storing(opened, write=Once(quicker)), secret.path))
    assert (pushed.in_step, pushed.version) == (True, 2)
    assert serves_current(lab, opened, secret)


def test_a_store_that_serves_something_else_than_was_written_is_not_in_step(opened: Opened, secret: Declared) -> None:
    def tamper(name: str) -> None:
        opened.store.put_by_hand(name, "somebody was quicker")

    pushed = one(sync_destinations(storing(opened, read=tamper), secret.path))
    assert pushed.state is CopyState.FAILED
    assert "serves another value" in pushed.error
    assert secret.first["value"] not in pushed.error


def test_many_destinations_are_written_side_by_side(lab: Lab) -> None:
    made = lab.generated()
    names = [f"{remote(made)}-{number}" for number in range(20)]
    secret = made.having(destinations=tuple({"store": "memory", "name": name} for name in names))
    run = worker(lab, secret)
    assert all(copy.state is CopyState.CREATED for copy in sync_destinations(run.workspace, secret.path))
