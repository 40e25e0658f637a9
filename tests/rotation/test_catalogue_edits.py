"""A catalogue that was edited while a rotation was under way: accounts that moved, names that changed, entries gone."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.mapping import with_missing
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.repair.forget import forget, remains
from keyturn.rotation.repair.removed_entries import left_open
from keyturn.rotation.repair.rename import rename
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from tests.rotation.helpers import Worker, remote, with_copy
from tests.support.hooks import Hooked, eventually
from tests.support.lab import INTERVAL, Declared, Lab, Opened, fresh

pytestmark = pytest.mark.sampled(4, of="file")


def named_otherwise(secret: Declared) -> Declared:
    """The same entry under another name."""
    return replace(secret, path=f"tests/{fresh()}")


def again(lab: Lab, opened: Opened, *declared: Declared) -> Opened:
    """The catalogue after an edit, over the same stores."""
    return replace(lab.open(*declared, stores=lambda name: opened.store), store=opened.store)


# --- accounts


def test_an_account_that_moved_to_another_secret_is_not_ended_by_the_old_ones_retirement(lab: Lab) -> None:
    secret = lab.alternating()
    rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    first, second = secret.users
    other = secret.having(users=(first, f"{first}2"))
    moved = replace(other, path=f"tests/{fresh()}")
    lab.hub.write(moved.path, SecretFields(secret.first), cas=0)
    edited = lab.open(secret.having(users=(second, f"{second}2")), moved).workspace
    retirement = retire(edited, secret.path, Waive.EVERYTHING)
    assert (retirement.retired, retirement.state) == (False, "left alone")
    assert retirement.message.endswith(f"was not ended: the catalogue gives {first} to {moved.path} now")
    assert lab.logs_in(secret.first)
    assert load_record(edited, secret.path).rotation is None
    assert rotate(edited, moved.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(moved))


def test_an_account_that_is_current_of_another_secret_is_not_ended_either(lab: Lab) -> None:
    secret = lab.alternating()
    rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    first, second = secret.users
    other = replace(secret.having(users=(f"{first}8", f"{first}9")), path=f"tests/{fresh()}")
    lab.hub.write(other.path, SecretFields(secret.first), cas=0)
    edited = lab.open(secret.having(users=(second, f"{second}2")), other).workspace
    assert f"CURRENT of {other.path} names it now" in retire(edited, secret.path, Waive.EVERYTHING).message
    assert lab.logs_in(secret.first)


def test_a_person_moves_a_secret_to_the_users_that_the_catalogue_names_now(lab: Lab) -> None:
    secret = with_copy(lab.alternating())
    new = (f"{secret.owner}_c", f"{secret.owner}_d")
    opened = lab.open(secret.having(users=new))
    for trigger in (Trigger.SCHEDULE, Trigger.FORCE):
        opened.clock.advance(INTERVAL)
        with pytest.raises(Invalid, match="which is not one of its users") as refused:
            rotate(opened.workspace, secret.path, trigger)
        assert "--now --change-account" in refused.value.hint
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE, change_account=True)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 2)
    assert f"(username {secret.users[0]}) still works" in outcome.previous
    current = lab.current(secret)
    assert current["username"] == new[0]
    assert current["host"] == secret.first["host"]
    assert lab.logs_in(current)
    assert lab.logs_in(secret.first)
    assert retire(opened.workspace, secret.path).retired
    assert not lab.logs_in(secret.first)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


# --- another name


def pending(lab: Lab, secret: Declared) -> Opened:
    opened = lab.open(secret)
    Worker(opened.workspace, secret.path).installed()
    return opened


def promoted(lab: Lab, secret: Declared) -> Opened:
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    return opened


def over(lab: Lab, secret: Declared) -> Opened:
    opened = promoted(lab, secret)
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    return opened


def test_what_the_catalogue_declares_no_more_is_shown_while_something_of_it_is_open(lab: Lab) -> None:
    gone, other = lab.alternating(), lab.generated()
    opened = promoted(lab, gone)
    edited = again(lab, opened, other).workspace
    (shown,) = [one for one in left_open(edited) if one.path == gone.path]
    assert f"the old credential (username {gone.users[0]}) at postgresql" in shown.message
    assert f"`keyturn repair rename {gone.path} NEW`" in shown.message
    assert f"`keyturn repair forget {gone.path}`" in shown.message
    retire(opened.workspace, gone.path, Waive.EVERYTHING)
    assert gone.path not in [one.path for one in left_open(edited)]


@pytest.mark.parametrize("state", [promoted, over])
def test_a_first_version_under_a_new_name_never_takes_the_account_that_serves_under_the_old_one(
    lab: Lab, state: Callable[[Lab, Declared], Opened]
) -> None:
    secret = lab.alternating()
    opened = state(lab, secret)
    served, new = lab.current(secret), named_otherwise(secret)
    edited = again(lab, opened, new).workspace
    for trigger in (Trigger.SCHEDULE, Trigger.FORCE):
        with pytest.raises(Invalid, match=f"its account is the one of {secret.path}") as refused:
            rotate(edited, new.path, trigger)
        assert f"`keyturn repair rename {secret.path} {new.path}`" in refused.value.hint
    assert lab.logs_in(served)


@pytest.mark.parametrize("state", [pending, promoted, over])
def test_a_secret_goes_on_under_its_new_name_with_its_rotation_its_versions_and_its_copies(
    lab: Lab, state: Callable[[Lab, Declared], Opened]
) -> None:
    secret = with_copy(lab.alternating())
    opened = state(lab, secret)
    served, before, new = lab.current(secret), load_record(opened.workspace, secret.path), named_otherwise(secret)
    edited = again(lab, opened, new).workspace
    done = rename(edited, secret.path, new.path)
    assert lab.current(new) == served
    after = load_record(edited, new.path)
    assert [one.token for one in after.history] == [one.token for one in before.history]
    assert (after.rotation and after.rotation.token) == (before.rotation and before.rotation.token)
    assert [copy.in_step for copy in done.copies] == [True]
    copy = opened.store.describe(remote(secret))
    assert copy is not None
    assert copy.marks is not None
    assert (copy.marks.source, copy.marks.version) == (new.path, done.version)
    assert secret.path not in [one.path for one in left_open(edited)]
    assert goes_on(lab, edited, new)
    assert rename(edited, secret.path, new.path).version == load_version(lab, new)


def test_a_copy_that_keeps_what_it_has_keeps_it_under_the_new_name_too(lab: Lab) -> None:
    """Versions are numbered anew there: a greater number in its marks could tell that the hub has lost some."""
    secret = lab.generated()
    secret = secret.having(destinations=[{"store": "memory", "name": remote(secret), "update": "add-fields"}])
    opened = lab.open(secret)
    for _ in range(3):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    held, new = opened.store.read(remote(secret)), named_otherwise(secret)
    assert lab.current(secret)["value"] not in held.reveal()
    lab.hub.destroy(secret.path, [1, 2, 3])
    edited = again(lab, opened, new).workspace
    assert [copy.in_step for copy in rename(edited, secret.path, new.path).copies] == [True]
    assert opened.store.read(remote(secret)).reveal() == held.reveal()
    copy = opened.store.describe(remote(secret))
    assert copy is not None
    assert copy.marks is not None
    assert (copy.marks.source, copy.marks.version, copy.marks.grown) == (new.path, 1, True)
    lab.hub.write(new.path, SecretFields({**lab.current(new), "note": "n"}), cas=load_version(lab, new))
    assert [copy.in_step for copy in sync_destinations(edited, new.path)] == [True]
    assert opened.store.read(remote(secret)).reveal() == with_missing(held, Sensitive('{"note":"n"}'))[0].reveal()


def load_version(lab: Lab, secret: Declared) -> int:
    info = lab.hub.describe(secret.path)
    assert info is not None
    return info.version


def goes_on(lab: Lab, workspace: Any, secret: Declared) -> bool:
    """Whether what was open is finished, and another rotation after it."""
    rotate(workspace, secret.path)
    assert eventually(lambda: not retire(workspace, secret.path, Waive.GRACE).held_by)
    assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))
    return load_record(workspace, secret.path).open is None


@pytest.mark.parametrize("state", [pending, promoted])
def test_a_rename_that_dies_anywhere_is_finished_by_the_next(
    lab: Lab, state: Callable[[Lab, Declared], Opened]
) -> None:
    for place in count(1):
        secret = with_copy(lab.alternating())
        opened = state(lab, secret)
        served, new = lab.current(secret), named_otherwise(secret)
        edited = again(lab, opened, new).workspace
        dying = Dying(place)
        hub: Any = Hooked(edited.hub, write=dying, write_state=dying, patch_metadata=dying)
        try:
            rename(replace(edited, hub=hub), secret.path, new.path)
        except Unavailable:
            pass
        else:
            break
        assert rename(edited, secret.path, new.path).version
        assert lab.current(new) == served
        assert goes_on(lab, edited, new)
    assert place > 3, "it never died"


class Dying:
    """The process dies before its ``place``-th call that writes to the hub."""

    def __init__(self, place: int) -> None:
        self.left = place

    def __call__(self, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Unavailable("write", "the hub", "the power is gone", "Wait")


def test_two_lives_are_not_mixed(lab: Lab) -> None:
    secret, other = lab.alternating(), lab.alternating()
    opened = promoted(lab, secret)
    with pytest.raises(Invalid, match="the catalogue declares it still"):
        rename(again(lab, opened, secret, other).workspace, secret.path, other.path)
    edited = again(lab, opened, other).workspace
    with pytest.raises(Invalid, match="the hub holds another value there"):
        rename(edited, secret.path, other.path)
    rotate(edited, other.path, Trigger.FORCE)
    with pytest.raises(Invalid, match="it has its own rotations"):
        rename(edited, secret.path, other.path)
    assert load_record(edited, secret.path).retiring is not None
    with pytest.raises(NotFound, match="knows no secret and no record of that name"):
        rename(lab.open(unmade := named_otherwise(other)).workspace, f"tests/{fresh()}", unmade.path)


# --- given up


def test_forgetting_names_what_it_leaves_and_ends_it_where_it_is_asked_to(lab: Lab) -> None:
    secret, other = lab.alternating(), lab.alternating()
    edited = again(lab, promoted(lab, secret), other).workspace
    assert f"(username {secret.users[0]}) at postgresql" in remains(edited, secret.path)
    done = forget(edited, secret.path, end_previous=True)
    assert (done.ended, done.left, done.why) == (f"the credential username {secret.users[0]}", "", "")
    assert not lab.logs_in(secret.first)
    assert lab.logs_in(lab.current(secret))
    assert secret.path not in [one.path for one in left_open(edited)]
    with pytest.raises(NotFound, match="no record of it"):
        forget(edited, secret.path)


def test_forgetting_spares_an_account_that_is_another_secrets_now(lab: Lab) -> None:
    secret = lab.alternating()
    opened = promoted(lab, secret)
    first, _ = secret.users
    other = replace(secret.having(users=(first, f"{first}2")), path=f"tests/{fresh()}")
    edited = again(lab, opened, other).workspace
    done = forget(edited, secret.path, end_previous=True)
    assert done.why == f"the catalogue gives it to {other.path} now"
    assert lab.logs_in(secret.first)


def test_a_candidate_that_is_given_up_stays_where_it_is_and_current_works(lab: Lab) -> None:
    secret, other = lab.alternating(), lab.alternating()
    edited = again(lab, pending(lab, secret), other).workspace
    done = forget(edited, secret.path, end_previous=True)
    assert done.left.startswith(f"a rotation is {Stage.PENDING} at postgresql")
    assert done.why == "no old credential waits for its end"
    assert lab.logs_in(secret.first)
    assert load_record(edited, secret.path).rotation is None
