"""A corrupt record or metadata is reported as one row, and stops no other secret."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.cli.secrets.copies import CatalogueCopies
from keyturn.cli.secrets.due import prospects
from keyturn.cli.secrets.secret_status import secret_statuses
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import EXPIRES_AT, ROTATED_AT
from keyturn.core.rotation_record import FORMAT
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.batches import rotating
from tasks import rotation as tasks
from tests.revocation.site import Site
from tests.rotation.helpers import with_copy
from tests.support.lab import INTERVAL, Declared, Lab, Opened

VALUE = "hunter2-in-a-record"


def rotation(**changes: Any) -> dict[str, Any]:
    """One as a record keeps it, with something of it changed."""
    whole = {
        "token": "t",
        "sequence": 1,
        "stage": "promoted",
        "strategy": "generated",
        "reason": "TooOld",
        "holder": "host/1/1",
        "opened_at": "2026-03-01T12:00:00+00:00",
        "base_version": 1,
    }
    return {**whole, **changes}


SPOILT = {
    "a history that is no JSON": {"history": f"{{{VALUE}"},
    "a history of texts": {"history": json.dumps([VALUE])},
    "a rotation that is a text": {"rotation": VALUE},
    "a number that is a text": {"rotation": rotation(sequence=VALUE)},
    "a stage that nobody knows": {"rotation": rotation(stage=VALUE)},
    "a moment without a zone": {"rotation": rotation(opened_at="2026-03-01")},
    "a rotation without its token": {"rotation": {"sequence": 1}},
    "a candidate that is a text": {"candidate": VALUE},
    "a format that is a text": {"format": VALUE},
}


@pytest.fixture
def secrets(lab: Lab) -> tuple[Declared, Declared]:
    """One to be spoilt, and another one."""
    return with_copy(lab.generated()), with_copy(lab.generated())


@pytest.fixture
def opened(lab: Lab, secrets: tuple[Declared, Declared]) -> Opened:
    return lab.open(*secrets)


@pytest.fixture
def as_tasks(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks find this workspace."""
    monkeypatch.setattr("tasks.rotation.current_workspace", lambda: opened.workspace)


def spoil(lab: Lab, path: str, data: dict[str, Any]) -> None:
    """Write over the secret's record."""
    state = lab.hub.read_state(f"rotations/{path}")
    lab.hub.write_state(f"rotations/{path}", data, cas=state.version if state else 0)


@pytest.mark.parametrize("data", SPOILT.values(), ids=SPOILT)
def test_a_record_that_cant_be_read_is_told_with_its_place_and_a_remedy_and_without_what_it_holds(
    lab: Lab, opened: Opened, secrets: tuple[Declared, Declared], data: dict[str, Any]
) -> None:
    path = secrets[0].path
    spoil(lab, path, data)
    with pytest.raises(Invalid) as told:
        load_record(opened.workspace, path)
    assert f"keyturn/rotations/{path} can't be read" in told.value.problem
    assert f"vault kv metadata delete keyturn/rotations/{path}" in told.value.hint
    assert VALUE not in str(told.value)
    assert told.value.__cause__ is None


def test_a_record_of_a_newer_format_says_that_a_newer_keyturn_is_needed(
    lab: Lab, opened: Opened, secrets: tuple[Declared, Declared]
) -> None:
    spoil(lab, secrets[0].path, {"format": FORMAT + 1})
    with pytest.raises(Invalid, match=f"of format {FORMAT + 1}, and this Keyturn knows {FORMAT} at most"):
        load_record(opened.workspace, secrets[0].path)


def test_what_a_newer_keyturn_has_added_outlives_a_rotation_of_an_older_one(
    lab: Lab, opened: Opened, secrets: tuple[Declared, Declared]
) -> None:
    path = secrets[0].path
    rotate(opened.workspace, path, Trigger.FORCE)
    state = lab.hub.read_state(f"rotations/{path}")
    assert state is not None
    spoil(lab, path, {**state.data, "rotation": {**state.data["rotation"], "seen": [1]}, "approvals": {"by": "x"}})
    retire(opened.workspace, path)
    rotate(opened.workspace, path, Trigger.FORCE)
    state = lab.hub.read_state(f"rotations/{path}")
    assert state is not None
    assert state.data["approvals"] == {"by": "x"}
    assert json.loads(state.data["history"])[0]["seen"] == [1]


# --- one row -----------------------------------------------------------------------------------------------


def metadata(name: str) -> Callable[[Lab, str], None]:
    """Write something that is no moment into the secret's metadata."""
    return lambda lab, path: lab.hub.patch_metadata(path, {name: "yesterday"})


SPOILERS: dict[str, Callable[[Lab, str], None]] = {
    "record": lambda lab, path: spoil(lab, path, {"history": "{"}),
    "age": metadata(ROTATED_AT),
    "end": metadata(EXPIRES_AT),
}


@pytest.fixture(params=[*SPOILERS.values()], ids=[*SPOILERS])
def spoilt(request: pytest.FixtureRequest, lab: Lab, secrets: tuple[Declared, Declared]) -> str:
    """The path of a secret of which something can't be read."""
    request.param(lab, secrets[0].path)
    return secrets[0].path


def said(error: str) -> bool:
    """Whether it tells what can't be read, and what to do."""
    return ("can't be read" in error or "is no moment" in error) and "vault kv metadata" in error


def test_status_and_due_have_one_row_that_says_so(
    opened: Opened, secrets: tuple[Declared, Declared], spoilt: str
) -> None:
    found, _ = secret_statuses(opened.workspace, lambda workspace: CatalogueCopies())
    assert {one.path: said(one.error) for one in found} == {spoilt: True, secrets[1].path: False}
    rows = {one.path: one.error for one in prospects(opened.workspace, [one.path for one in secrets])}
    assert {path: said(error) for path, error in rows.items()} == {spoilt: True, secrets[1].path: False}
    assert rows[secrets[1].path] == ""


def test_what_is_due_is_rotated_beside_it(
    as_tasks: None, opened: Opened, secrets: tuple[Declared, Declared], spoilt: str
) -> None:
    opened.clock.advance(INTERVAL)
    due = asyncio.run(tasks.find_due.fn([one.path for one in secrets]))
    assert [one.path for one in due] == [one.path for one in secrets]
    with pytest.raises(KeyturnError) as told:
        rotate(opened.workspace, spoilt)
    assert said(str(told.value))
    assert rotate(opened.workspace, secrets[1].path).state is RunState.ROTATED


def test_what_can_be_retired_is_retired_beside_it(
    lab: Lab, as_tasks: None, opened: Opened, secrets: tuple[Declared, Declared]
) -> None:
    rotate(opened.workspace, secrets[1].path, Trigger.FORCE)
    spoil(lab, secrets[0].path, {"history": "{"})
    assert list(asyncio.run(tasks.find_unretired.fn([one.path for one in secrets]))) == [one.path for one in secrets]
    with pytest.raises(Invalid) as told:
        retire(opened.workspace, secrets[0].path, Waive.NOTHING)
    assert said(str(told.value))
    assert retire(opened.workspace, secrets[1].path).retired


def test_copies_are_synced_beside_it(lab: Lab, opened: Opened, secrets: tuple[Declared, Declared]) -> None:
    lab.hub.patch_metadata(secrets[0].path, {EXPIRES_AT: "2026-03-01"})
    (failed,), (pushed,) = (sync_destinations(opened.workspace, one.path) for one in secrets)
    assert said(failed.error)
    assert pushed.in_step


def test_the_follower_syncs_what_its_record_cant_tell_of(
    lab: Lab, opened: Opened, secrets: tuple[Declared, Declared]
) -> None:
    spoil(lab, secrets[0].path, {"history": "{"})
    assert not rotating(opened.workspace, secrets[0].path)


# --- the way out -------------------------------------------------------------------------------------------


def test_a_revocation_is_refused_by_no_record_that_cant_be_read(lab: Lab) -> None:
    site = Site.of(lab, lab.alternating())
    spoil(lab, site.secret.path, {"history": "{", "frozen": 3})
    lab.hub.patch_metadata(site.secret.path, {ROTATED_AT: "yesterday"})
    assert not site.revoke().open
    assert not lab.logs_in(site.secret.first)
    assert lab.logs_in(lab.current(site.secret))
