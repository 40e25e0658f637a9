"""Values that a person replaces: never due, never made here, and carried to their copies."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.core.errors import CandidateRejected, UnsupportedOperation
from keyturn.core.ports.strategies import Change
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.decide import decide, sight
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.manual import IDLE, Manual, ManualSettings
from tests.support.lab import Declared, Lab, fresh

AGES = timedelta(days=3650)


@pytest.fixture
def secret(lab: Lab) -> Declared:
    """One that is in the hub, with a copy."""
    made = lab.generated(destinations=[{"store": "memory", "name": "manual", "field": "value"}])
    made.data["rotation"] = {"strategy": "manual"}
    return made


def test_it_is_never_due_however_old_it_is(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    opened.clock.advance(AGES)
    assert rotate(opened.workspace, secret.path).state is RunState.NOT_DUE
    seen = sight(opened.workspace, secret.path)
    assert (seen.work, seen.alarm) == (False, "")


def test_beyond_its_maximum_age_it_is_an_alarm_and_no_work(lab: Lab, secret: Declared) -> None:
    secret.data["rotation"]["maximum_age"] = "90d"
    opened = lab.open(secret)
    opened.clock.advance(AGES)
    seen = sight(opened.workspace, secret.path)
    assert not seen.work
    assert "beyond its maximum age" in seen.alarm


def test_without_a_first_version_it_is_not_due(lab: Lab, secret: Declared) -> None:
    other = dataclasses.replace(secret, path=fresh())
    assert rotate(lab.open(other).workspace, other.path).state is RunState.NOT_DUE


@pytest.mark.parametrize("trigger", [Trigger.COMPROMISE, Trigger.EVENT])
def test_who_asked_for_a_rotation_leaves_no_mark_that_nothing_clears(
    lab: Lab, secret: Declared, trigger: Trigger
) -> None:
    opened = lab.open(secret)
    with pytest.raises(UnsupportedOperation):
        rotate(opened.workspace, secret.path, trigger)
    assert rotate(opened.workspace, secret.path).state is RunState.NOT_DUE


@pytest.mark.parametrize("trigger", [Trigger.FORCE, Trigger.COMPROMISE, Trigger.EVENT])
def test_whoever_asks_for_a_rotation_is_told_where_to_write_the_new_value(
    lab: Lab, secret: Declared, trigger: Trigger
) -> None:
    workspace = lab.open(secret).workspace
    assert decide(workspace, secret.path, trigger).reason
    with pytest.raises(UnsupportedOperation) as caught:
        rotate(workspace, secret.path, trigger)
    assert f"to the hub at {secret.path}" in caught.value.hint
    assert load_record(workspace, secret.path).open is None
    assert lab.current(secret) == secret.first


def test_what_a_person_writes_to_the_hub_is_carried_to_the_copies(lab: Lab, secret: Declared) -> None:
    opened = lab.open(secret)
    assert all(place.in_step for place in sync_destinations(opened.workspace, secret.path))
    lab.hub.write(secret.path, SecretFields({**secret.first, "value": "by hand"}), cas=1)
    assert all(place.in_step for place in sync_destinations(opened.workspace, secret.path))
    assert opened.store.read("manual").reveal() == "by hand"


def test_it_makes_and_accepts_no_candidate() -> None:
    manual = Manual("apps/key")
    with pytest.raises(UnsupportedOperation):
        manual.preflight(None, None)
    with pytest.raises(UnsupportedOperation):
        manual.mint(None)
    candidate = SecretFields({"value": "s3cr3t-candidate"})
    manual.preflight(None, candidate)
    with pytest.raises(CandidateRejected) as caught:
        manual.verify(Change("apps/key", 1, candidate, None))
    assert caught.value.hint
    assert "s3cr3t" not in str(caught.value)


def test_only_a_person_can_end_it_and_nobody_can_tell_whether_it_is_honoured() -> None:
    manual, value = Manual("apps/key"), SecretFields({"value": "s3cr3t-current"})
    (said,) = manual.revoke(value, 6).outlives
    assert said == "the value of apps/key, until a person ends it where it is honoured"
    assert manual.accepts(value) is None


def opened(**settings: Any) -> ManualSettings:
    return ManualSettings.model_validate({"strategy": "manual", **settings})


def test_it_needs_no_times_and_takes_none() -> None:
    nothing: Any = None
    assert opened().open("apps/key", nothing).path == "apps/key"
    given = dict.fromkeys(IDLE, "1d") | {
        "cron": "0 3 * * sun",
        "timezone": "UTC",
        "window": {"days": ["mon"], "from": "00:00", "to": "01:00", "timezone": "UTC"},
    }
    for key in set(IDLE) - {"timezone"}:
        beside = {"timezone": "UTC"} if key == "cron" else {}
        with pytest.raises(ValidationError, match="means nothing where a person replaces the value"):
            opened(**{key: given[key]}, **beside)
