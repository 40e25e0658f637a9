"""What is refused before anything changes, and that nothing has."""

import dataclasses

import pytest

from keyturn.cli.secrets.secret_status import SecretStatus, statuses_without_copies
from keyturn.core.errors import Invalid, NotOwned, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.rotation.helpers import Worker, remote, with_copy, worker
from tests.support.lab import Declared, Lab, Opened

DOWN = Unavailable("find", "memory:x", "it is down", "Wait")


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating())


def unchanged(lab: Lab, secret: Declared) -> None:
    """Neither the hub, nor the record, nor the accounts have moved."""
    assert lab.current(secret) == secret.first
    assert worker(lab, secret).record() == Record()
    assert lab.logs_in(secret.first)
    assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", secret.users[1]) == []


def test_a_destination_that_cant_be_reached_stops_a_rotation_before_it_begins(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.store.down = DOWN
    with pytest.raises(Unavailable, match="it is down"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    unchanged(lab, secret)
    opened.store.down = None
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED


def test_the_old_credential_is_not_ended_for_a_rotation_that_cant_begin(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.store.down = DOWN
    with pytest.raises(Unavailable):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert lab.logs_in(secret.first)
    assert lab.logs_in(lab.current(secret))


def test_a_suspected_credential_does_not_wait_for_a_destination(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.store.down = DOWN
    outcome = rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert (outcome.state, outcome.version) == (RunState.ROTATED, 2)
    assert "it is down" in outcome.destinations[0].error


def test_a_suspected_credential_overwrites_nobody_elses_secret_all_the_same(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.store.put_by_hand(remote(secret), "theirs")
    with pytest.raises(NotOwned):
        rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    unchanged(lab, secret)


def test_what_needs_mending_is_said_rather_than_what_passes_by_itself(lab: Lab, secret: Declared) -> None:
    places = ({"store": "memory", "name": remote(secret)}, {"store": "memory", "name": "not a legal name!"})
    opened = lab.open(secret.having(destinations=places))
    opened.store.down = DOWN
    with pytest.raises(Invalid, match="push to memory:not a legal name!"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    unchanged(lab, secret)


def test_a_value_that_a_store_cant_hold_is_refused_before_the_target_knows_it(lab: Lab) -> None:
    secret = with_copy(lab.alternating())
    lab.hub.write(secret.path, SecretFields({**secret.first, "ca": "x" * 65_500}), cas=1)
    opened = lab.open(secret)
    with pytest.raises(Invalid, match=f"push to memory:{remote(secret)}"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", secret.users[1]) == []


@pytest.mark.parametrize("kind", ["alternating", "single"])
def test_another_accounts_credential_is_refused(lab: Lab, kind: str) -> None:
    secret: Declared = getattr(lab, kind)()
    lab.hub.write(secret.path, SecretFields({**secret.first, "username": "stranger"}), cas=1)
    with pytest.raises(Invalid, match="pg:stranger: the secret names stranger, which is not one of its users"):
        rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    assert worker(lab, secret).record() == Record()
    assert lab.logs_in(secret.first)


# --- the catalogue changes while a rotation is open --------------------------------------------------------


def elsewhere(opened: Opened) -> Worker:
    """The same secret in a catalogue whose target is another server."""
    catalogue = opened.workspace.catalogue
    targets = {"pg": catalogue.target("pg").model_copy(update={"host": "other.example.com"})}
    moved = dataclasses.replace(opened.workspace, catalogue=catalogue.model_copy(update={"targets": targets}))
    return Worker(moved, next(iter(catalogue.secrets)))


def last_line(opened: Opened | Worker) -> str:
    """What `keyturn status` says of the rotation."""
    (status,) = statuses_without_copies(opened.workspace).values()
    assert isinstance(status, SecretStatus)
    return status.lines()[-1]


def test_a_candidate_is_not_installed_at_another_target(lab: Lab) -> None:
    secret = lab.alternating()
    opened = lab.open(secret)
    Worker(opened.workspace, secret.path).staged()
    with pytest.raises(Invalid, match=r"was begun as alternating-users at postgresql .* put it back"):
        rotate(elsewhere(opened).workspace, secret.path)
    assert rotate(opened.workspace, secret.path).state is RunState.ROTATED


def test_an_old_credential_is_not_ended_at_another_target(lab: Lab) -> None:
    secret = lab.alternating()
    opened = lab.open(secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    moved = elsewhere(opened)
    held = retire(moved.workspace, secret.path, Waive.GRACE)
    assert not held.retired
    assert "other.example.com" in held.held_by[0]
    place = opened.workspace.target(secret.path)
    assert last_line(moved) == f"old credential is not ended: the catalogue names another target than {place}"
    assert last_line(opened) == "old credential is to be retired"
    assert lab.logs_in(secret.first)
    assert not retire(moved.workspace, secret.path, Waive.EVERYTHING).retired
    (past,) = moved.record().history
    assert past.note.startswith("not ended: go on with")
    assert lab.logs_in(secret.first)
