"""The previous version stays in a copy only during its grace period."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.core.errors import Denied, Invalid
from keyturn.core.overrides import Waive
from keyturn.core.plan import Action, Item
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import steps
from keyturn.rotation.copies.push import CopyState, look_at_copies, sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.repair.recoverable_values import values
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.plan import plan
from tests.rotation.helpers import Worker, remote, with_copy
from tests.support.hooks import Hooked, raising
from tests.support.lab import Declared, Lab, Opened, fresh

KEYS = {"field": ["value", "previous.value"]}
GRACE = timedelta(hours=1)


def keyed(lab: Lab, shape: dict[str, Any] | None = None, **changes: Any) -> tuple[Declared, Opened]:
    """A generated value with one copy that gives the value before beside it, in step."""
    secret = with_copy(lab.generated(grace="1h", **changes), **(shape or KEYS))
    opened = lab.open(secret)
    sync_destinations(opened.workspace, secret.path)
    return secret, opened


def served(opened: Opened, secret: Declared) -> Any:
    return json.loads(opened.store.read(remote(secret)).reveal())


def rotated(opened: Opened, secret: Declared, lab: Lab) -> str:
    """Rotate; the new value."""
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    return str(lab.current(secret)["value"])


def item(workspace: Workspace, secret: Declared) -> Item:
    """What a plan says of the copy."""
    return next(one for one in plan(workspace, [secret.path]).items)


def test_the_value_before_stands_beside_the_new_one_until_it_is_retired(lab: Lab) -> None:
    secret, opened = keyed(lab)
    first = secret.first["value"]
    assert served(opened, secret) == [first]
    second = rotated(opened, secret, lab)
    assert served(opened, secret) == [second, first]
    assert item(opened.workspace, secret).action is Action.IN_SYNC
    opened.clock.advance(GRACE)
    assert retire(opened.workspace, secret.path).retired
    assert served(opened, secret) == [second]
    assert item(opened.workspace, secret).action is Action.IN_SYNC


def test_a_plan_from_marks_alone_sees_a_copy_that_still_gives_what_is_retired(lab: Lab) -> None:
    secret, opened = keyed(lab)
    second = rotated(opened, secret, lab)
    opened.clock.advance(GRACE)
    opened.store.refuses = Denied("write", "memory", "not allowed", "Ask")
    assert retire(opened.workspace, secret.path).retired
    opened.store.refuses = None
    assert len(served(opened, secret)) == 2
    assert item(opened.workspace, secret).action is Action.UPDATE
    assert look_at_copies(opened.workspace, secret.path)[0].state is CopyState.STALE
    sync_destinations(opened.workspace, secret.path)
    assert served(opened, secret) == [second]


def test_the_next_rotation_retires_the_one_before_so_that_two_values_stand_there_at_most(lab: Lab) -> None:
    secret, opened = keyed(lab)
    second = rotated(opened, secret, lab)
    retire(opened.workspace, secret.path, Waive.GRACE)
    third = rotated(opened, secret, lab)
    assert served(opened, secret) == [third, second]


def test_what_others_may_know_is_never_given_as_the_value_before(lab: Lab) -> None:
    secret, opened = keyed(lab)
    rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert lab.current(secret)["value"] != secret.first["value"]
    assert served(opened, secret) == [lab.current(secret)["value"]]


def test_what_was_taken_back_is_not_given_beside_what_serves_again(lab: Lab) -> None:
    secret, opened = keyed(lab)
    rotated(opened, secret, lab)
    token = Worker(opened.workspace, secret.path).record().retiring
    assert token is not None
    rollback(opened.workspace, secret.path, token.token, "the canary is not well")
    sync_destinations(opened.workspace, secret.path)
    assert load_record(opened.workspace, secret.path).rotation.stage is Stage.REVERTED  # type: ignore[union-attr]
    assert served(opened, secret) == [secret.first["value"]]


def test_a_value_before_that_somebody_deleted_is_left_out_and_said(lab: Lab) -> None:
    secret, opened = keyed(lab)
    second = rotated(opened, secret, lab)
    lab.hub.delete(secret.path, [1])
    told = item(opened.workspace, secret)
    assert (told.action, told.why) == (Action.UPDATE, "without version 1, which is deleted or destroyed")
    sync_destinations(opened.workspace, secret.path)
    assert served(opened, secret) == [second]
    assert item(opened.workspace, secret).action is Action.IN_SYNC
    lab.hub.undelete(secret.path, [1])
    sync_destinations(opened.workspace, secret.path)
    assert served(opened, secret) == [second, secret.first["value"]]


def test_a_value_before_that_nobody_may_look_at_holds_the_copy_as_it_is(lab: Lab) -> None:
    secret, opened = keyed(lab)
    rotated(opened, secret, lab)
    stands = served(opened, secret)
    denied: Any = Hooked(opened.workspace.hub, read_state=raising(Denied("read", "the record", "not allowed", "Ask")))
    blind = replace(opened.workspace, hub=denied)
    assert sync_destinations(blind, secret.path)[0].state is CopyState.FAILED
    assert item(blind, secret).action is Action.BLOCKED
    assert served(opened, secret) == stands


def test_a_retirement_between_the_look_and_the_write_leaves_no_old_value_behind(lab: Lab) -> None:
    secret, opened = keyed(lab)
    run = Worker(opened.workspace, secret.path)
    steps.promote(opened.workspace, run.verified())
    opened.clock.advance(GRACE)
    ended: list[bool] = []

    def writing(*args: Any, **kwargs: Any) -> Any:
        if not ended:
            ended.append(retire(opened.workspace, secret.path, Waive.EVERYTHING).retired)
        return opened.store.write(*args, **kwargs)

    late: Any = Hooked(opened.store, write=writing)
    slow = replace(opened.workspace, open_store=lambda name: late)
    sync_destinations(slow, secret.path)
    assert ended == [True]
    assert served(opened, secret) == [lab.current(secret)["value"]]


def test_a_rotation_is_refused_where_both_values_together_are_too_large(lab: Lab) -> None:
    secret, opened = keyed(lab, {"fields": {"both": ["value", "previous.value"], "more": "endpoint"}})
    big = lab.current(secret) | {"value": "x" * 65_470}
    lab.hub.write(secret.path, SecretFields(big), cas=1)
    sync_destinations(opened.workspace, secret.path)
    with pytest.raises(Invalid, match=r"with the previous version next to it: .* allows 65536 bytes"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert lab.current(secret) == big


def test_both_accounts_of_a_database_login_stand_in_one_copy_and_both_log_in(lab: Lab) -> None:
    shape = {"fields": {"user": "username", "password": "password", "old_user": "previous.username"}}
    shape["fields"]["old_password"] = "previous.password"
    secret = with_copy(lab.alternating(grace="1h"), **shape)
    opened = lab.open(secret)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    copy = served(opened, secret)
    assert (copy["old_user"], copy["old_password"]) == (secret.first["username"], secret.first["password"])
    assert lab.logs_in({"username": copy["user"], "password": copy["password"]})
    assert lab.logs_in({"username": copy["old_user"], "password": copy["old_password"]})
    retire(opened.workspace, secret.path, Waive.GRACE)
    assert served(opened, secret).keys() == {"user", "password"}


def test_a_connection_string_with_the_login_before_beside_it_is_tried_in_both_its_texts(lab: Lab) -> None:
    template = "host={host} port={port} user={username} password={password} dbname=ml_platform"
    shape = {"templates": {"dsn": {"template": template, "escape": "libpq"}}, "fields": {"old": "previous.password"}}
    secret = with_copy(lab.alternating(grace="1h"), **shape)
    opened = lab.open(secret)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert served(opened, secret)["old"] == secret.first["password"]


def test_a_copy_with_both_values_leads_back_to_the_newest(lab: Lab) -> None:
    secret, opened = keyed(lab, {"fields": {"keys": ["value", "previous.value"], "url": "endpoint"}})
    second = rotated(opened, secret, lab)
    found = values(opened.workspace, secret.path)
    assert found.useless == ()
    assert [one.fields["value"].reveal() for one in found.found] == [second]


# --- where a person replaces the value -----------------------------------------------------------------------


class ByHand:
    """A secret that a person replaces, with one copy of both values, at a time of its own by the hub's clock."""

    def __init__(self, lab: Lab) -> None:
        self.lab, path = lab, f"tests/{fresh()}"
        rotation = {"strategy": "manual", "grace": "1h"}
        data = {"owner": "a@example.com", "classification": "internal", "rotation": rotation}
        self.secret = with_copy(Declared(path, data, {}), **KEYS)
        self.at = datetime.now(UTC)
        self.opened = lab.open(self.secret, clock=lambda: self.at)

    def write(self, **fields: Any) -> None:
        info = self.lab.hub.describe(self.secret.path)
        self.lab.hub.write(self.secret.path, SecretFields(fields), cas=info.version if info else 0)

    def sync(self) -> Any:
        sync_destinations(self.opened.workspace, self.secret.path)
        assert item(self.opened.workspace, self.secret).action is Action.IN_SYNC
        return served(self.opened, self.secret)


def test_a_value_that_a_person_replaced_stays_for_the_grace_by_the_hubs_clock(lab: Lab) -> None:
    site = ByHand(lab)
    site.write(value="one")
    assert site.sync() == ["one"]
    site.write(value="two")
    assert site.sync() == ["two", "one"]
    site.write(value="two", note="a typo")
    assert site.sync() == ["two", "one"]
    site.at += GRACE + timedelta(minutes=1)
    assert item(site.opened.workspace, site.secret).action is Action.UPDATE
    assert site.sync() == ["two"]
