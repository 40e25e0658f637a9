"""The grace period starts at the later of promotion and the last copy in sync."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from tests.rotation.helpers import with_copy, worker
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab, Opened

SKEW = timedelta(minutes=10)
HOUR = timedelta(hours=1)
DOWN = Unavailable("reach", "memory:x", "it is down", "Wait")


def skewed(lab: Lab, secret: Declared, off: timedelta) -> Workspace:
    """A worker whose own clock is wrong, over the hub's real one."""
    workspace = worker(lab, secret).workspace
    return replace(workspace, clock=lambda: datetime.now(UTC) + off, hub_clock=None)


def held_by(workspace: Workspace, secret: Declared) -> str:
    """What holds the old credential."""
    retirement = retire(workspace, secret.path)
    assert not retirement.retired
    return "; ".join(retirement.held_by)


@pytest.mark.parametrize("off", [SKEW, -SKEW], ids=["ahead", "behind"])
def test_ten_minutes_of_skew_do_not_shorten_a_grace_of_fifteen(lab: Lab, off: timedelta) -> None:
    secret = lab.alternating(grace="15m")
    promoting, retiring = skewed(lab, secret, -off), skewed(lab, secret, off)
    begun = datetime.now(UTC)
    assert rotate(promoting, secret.path, Trigger.FORCE).state is RunState.ROTATED
    rotation = worker(lab, secret).record().retiring
    assert rotation is not None
    assert rotation.grace_from is not None
    assert timedelta(seconds=-2) < rotation.grace_from - begun < timedelta(minutes=1)
    over = rotation.grace_from + timedelta(minutes=15)
    assert held_by(retiring, secret) == f"its grace ends {over:%Y-%m-%d %H:%M:%S} UTC"
    assert lab.logs_in(secret.first)
    # By the hub's clock it ends when it should, whatever the worker's says.
    at_end = replace(retiring, hub_clock=lambda: over)
    assert eventually(lambda: retire(at_end, secret.path).retired)


@pytest.mark.parametrize("off", [SKEW, -SKEW], ids=["ahead", "behind"])
def test_max_grace_counts_by_the_hubs_clock_too(lab: Lab, off: timedelta) -> None:
    secret = with_copy(lab.alternating(grace="1m", max_grace="5m"))
    opened = lab.open(secret)
    opened.store.refuses = DOWN
    promoting = replace(opened.workspace, clock=lambda: datetime.now(UTC) - off, hub_clock=None)
    rotate(promoting, secret.path, Trigger.FORCE)
    retiring = replace(opened.workspace, clock=lambda: datetime.now(UTC) + off, hub_clock=None)
    assert "is not in sync" in held_by(retiring, secret)
    rotation = worker(lab, secret).record().retiring
    assert rotation is not None
    assert rotation.in_force_at is not None
    over = rotation.in_force_at + timedelta(minutes=5)
    assert retire(replace(retiring, hub_clock=lambda: over), secret.path).retired


# --- the last copy in sync ---------------------------------------------------------------------------------


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating(grace="1h"))


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret)


def test_readers_of_a_store_that_was_away_longer_than_the_grace_have_all_of_it(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    opened.store.refuses = DOWN
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(3 * HOUR)
    opened.store.refuses = None
    assert all(copy.in_step for copy in sync_destinations(opened.workspace, secret.path))
    assert held_by(opened.workspace, secret).startswith("its grace ends ")
    opened.clock.advance(HOUR - timedelta(seconds=1))
    assert held_by(opened.workspace, secret).startswith("its grace ends ")
    assert lab.logs_in(secret.first)
    opened.clock.advance(timedelta(seconds=1))
    # The server ends the session of this login a moment after the client.
    assert eventually(lambda: retire(opened.workspace, secret.path).retired)


def test_a_copy_that_fell_behind_begins_the_grace_anew(lab: Lab, opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(2 * HOUR)
    lab.hub.write(secret.path, SecretFields({**lab.current(secret), "note": "by hand"}), cas=2)
    assert held_by(opened.workspace, secret).endswith("is not in sync: stale")
    sync_destinations(opened.workspace, secret.path)
    assert held_by(opened.workspace, secret).startswith("its grace ends ")
    opened.clock.advance(HOUR)
    assert retire(opened.workspace, secret.path).retired


def test_a_store_that_cant_be_looked_at_holds_the_old_credential_and_begins_no_grace_anew(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    opened.clock.advance(HOUR)
    opened.store.down = DOWN
    assert "is not in sync" in held_by(opened.workspace, secret)
    opened.store.down = None
    assert retire(opened.workspace, secret.path).retired


def test_a_run_that_dies_before_it_has_pushed_begins_no_grace(lab: Lab, opened: Opened, secret: Declared) -> None:
    promoted = worker(lab, secret).promoted().rotation
    assert (promoted.in_force_at is None, promoted.grace_from) == (False, None)
    opened.clock.advance(3 * HOUR)
    sync_destinations(opened.workspace, secret.path)
    assert held_by(opened.workspace, secret).startswith("its grace ends ")


def test_a_secret_without_copies_counts_from_its_promotion(lab: Lab) -> None:
    promoted = worker(lab, lab.alternating(grace="1h")).promoted().rotation
    assert promoted.grace_from == promoted.in_force_at is not None


def test_a_record_from_before_counts_from_the_first_look(lab: Lab, opened: Opened, secret: Declared) -> None:
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    name = f"rotations/{secret.path}"
    state = lab.hub.read_state(name)
    assert state is not None
    known = {key: value for key, value in state.data["rotation"].items() if key not in ("grace_from", "in_force_at")}
    lab.hub.write_state(name, {**state.data, "rotation": known}, cas=state.version)
    opened.clock.advance(2 * HOUR)
    assert held_by(opened.workspace, secret).startswith("its grace ends ")
    opened.clock.advance(HOUR)
    assert retire(opened.workspace, secret.path).retired
