"""After a hub was restored from a snapshot, no dead credential is pushed."""

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.programs.hearing import Hearings
from keyturn.cli.secrets.recover import Behind, behind, note_recovered, recovered, unshown
from keyturn.cli.secrets.secret_status import secret_status
from keyturn.core.errors import Ahead, KeyturnError, NotFound
from keyturn.core.overrides import Waive
from keyturn.core.plan import Action
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.restored import look_at_restoration, mark_snapshot
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.run import begin, finish
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.repair.recover import choose, recover
from keyturn.rotation.repair.recoverable_values import HUB, values
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.ledger import named_ledger
from tests.rotation.helpers import Worker, remote, with_copy
from tests.support.hooks import Replaced, eventually
from tests.support.lab import Declared, Lab, Opened
from tests.support.own_lab import own_lab

pytestmark = pytest.mark.sampled(20, of="file")


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hub on disk, which can be restored from a snapshot, and a database that knows nothing of it."""
    with own_lab(tmp_path_factory.mktemp("durable"), on_disk=True) as made:
        yield made


def snapshot(lab: Lab) -> bytes:
    """The whole hub, as an operator saves it."""
    content: bytes = lab.root.sys.take_raft_snapshot().content
    return content


def restore(lab: Lab, opened: Opened, content: bytes) -> Workspace:
    """Put the hub back to that moment; the same Keyturn in a new process."""
    later = f"later/{uuid.uuid4()}"
    lab.hub.write(later, SecretFields({"written": "since"}), cas=0)
    lab.root.sys.force_restore_raft_snapshot(content)
    lab.hub.close()
    lab.hub = lab.world.hub()
    # It answers before it has forgotten all that it had at hand.
    assert eventually(lambda: lab.hub.read(later) is None, 60)
    return replace(opened.workspace, hub=lab.hub, open_strategy=lab.open(*declared_in(opened)).workspace.open_strategy)


def declared_in(opened: Opened) -> list[Declared]:
    """The secrets that it was opened over."""
    return opened.declared  # type: ignore[attr-defined,no-any-return]


def opened_over(lab: Lab, secret: Declared) -> Opened:
    """A Keyturn over one secret, which remembers it."""
    opened = lab.open(secret)
    opened.declared = [secret]  # type: ignore[attr-defined]
    return opened


def times(lab: Lab, opened: Opened, path: str, count: int) -> None:
    """So many rotations by force, each of which settles."""
    for _ in range(count):
        rotate(opened.workspace, path, Trigger.FORCE)
        retire(opened.workspace, path, Waive.EVERYTHING)


def copy_of(opened: Opened, secret: Declared) -> SecretFields:
    """What the copy holds."""
    import json

    return SecretFields(json.loads(opened.store.read(remote(secret)).reveal()))


@pytest.mark.parametrize("kind", ["alternating", "single"])
def test_after_a_restored_snapshot_nothing_dead_is_pushed_and_recover_brings_the_living_value_back(
    durable: Lab, kind: str
) -> None:
    secret = with_copy(getattr(durable, kind)())
    opened = opened_over(durable, secret)
    path = secret.path
    times(durable, opened, path, 1)
    saved = snapshot(durable)
    times(durable, opened, path, 3)
    newest = durable.current(secret)
    assert durable.logs_in(newest)
    workspace = restore(durable, opened, saved)
    assert not durable.logs_in(durable.current(secret)) or kind == "alternating"
    writes = opened.store.writes

    planned = plan(workspace)
    assert [item.action for item in planned.items if item.path == path] == [Action.AHEAD]
    assert carry_out(workspace, planned, local_executor(Applier(workspace))) == []
    (pushed,) = sync_destinations(workspace, path)
    assert (pushed.state, pushed.kind) == (CopyState.FAILED, Ahead.__name__)
    assert "keyturn repair recover" in pushed.error or "restored from a backup" in pushed.error
    for trigger in (Trigger.SCHEDULE, Trigger.FORCE):
        if trigger is Trigger.FORCE:
            with pytest.raises(Ahead, match=f"keyturn repair recover {path}"):
                rotate(workspace, path, trigger)
    assert opened.store.writes == writes
    assert durable.logs_in(copy_of(opened, secret))

    found = values(workspace, path)
    chosen = choose(found)
    assert (chosen.place, chosen.lives) == (f"memory:{remote(secret)}", True)
    came = recover(workspace, found, chosen)
    assert [copy.state for copy in came.copies] == [CopyState.IN_STEP]
    assert durable.current(secret) == newest
    assert durable.logs_in(durable.current(secret))
    assert {item.action for item in plan(workspace).items if item.path == path} == {Action.IN_SYNC}
    again = values(workspace, path)
    assert choose(again).place in (HUB, f"memory:{remote(secret)}")
    assert recover(workspace, again, choose(again)).version == came.version

    outcome = rotate(workspace, path, Trigger.FORCE)
    assert [place.state for place in outcome.destinations] == [CopyState.UPDATED]
    assert durable.logs_in(copy_of(opened, secret))
    assert durable.current(secret) != newest


@pytest.mark.attack
def test_a_snapshot_from_before_a_revocation_does_not_bring_back_the_leaked_value(durable: Lab) -> None:
    secret, replaced = with_copy(durable.alternating()), durable.alternating()
    opened = durable.open(secret, replaced)
    opened.declared = [secret, replaced]  # type: ignore[attr-defined]
    path = secret.path
    times(durable, opened, path, 1)
    times(durable, opened, replaced.path, 1)
    sync_destinations(opened.workspace, path)
    saved = snapshot(durable)
    revoke_only(opened.workspace, path, "INC-1")
    revoke_only(opened.workspace, replaced.path, "INC-R")
    assert opened.store.describe(remote(secret)) is None
    assert not [item for item in plan(opened.workspace).items if item.action is Action.AHEAD]
    workspace = restore(durable, opened, saved)
    leaked = durable.current(secret)

    planned = plan(workspace)
    (item,) = (item for item in planned.items if item.path == path)
    assert item.action is Action.AHEAD
    assert f"of {path}, which the incident INC-1 has ended, as the ledger says" in item.why
    assert f"keyturn revoke {path} --reason" in item.why
    assert carry_out(workspace, planned, local_executor(Applier(workspace))) == []
    (pushed,) = sync_destinations(workspace, path)
    assert (pushed.state, pushed.kind) == (CopyState.FAILED, Ahead.__name__)
    assert opened.store.describe(remote(secret)) is None
    for untested in (False, True):
        with pytest.raises(Ahead, match="Revoke it again"):
            choose(values(workspace, path), untested=untested)

    rotate(workspace, replaced.path, Trigger.FORCE)
    ended = load_record(workspace, replaced.path).history[-1]
    assert (ended.stage, ended.urgent) == (Stage.RETIRED, True), "what the ledger knows to have leaked gets no grace"

    info = workspace.hub.describe(path)
    assert info
    again = {name: leaked[name] for name in leaked.keys() - {"rotated_at"}}
    workspace.hub.write(path, SecretFields(again), cas=info.version)
    assert {item.action for item in plan(workspace).items if item.path == path} == {Action.AHEAD}
    (pushed,) = sync_destinations(workspace, path)
    assert (pushed.state, pushed.kind) == (CopyState.FAILED, Ahead.__name__), "by hand, it is what leaked all the same"

    revoke_only(workspace, path, "INC-2")
    assert workspace.hub.read(path) is None
    (item,) = (item for item in plan(workspace).items if item.path == path)
    assert item.why == f"the incident INC-2 has ended it. Make a new one: `keyturn rotate {path} --now`"
    assert not [item for item in plan(workspace).items if item.action is Action.AHEAD]
    durable.sql(f"ALTER USER {leaked['username']} LOGIN PASSWORD 'by-hand'")
    info = workspace.hub.describe(path)
    assert info
    workspace.hub.write(path, SecretFields({**leaked, "password": "by-hand"}), cas=info.version)
    (pushed,) = sync_destinations(workspace, path)
    assert pushed.in_step, "what somebody writes anew is another credential"
    since = "was written by hand since: `keyturn rotate"
    assert [since in line for line in secret_status(workspace, path, None, Hearings({})).lines()] == [False, True]


OldLedger = Callable[[Workspace], Workspace]


@pytest.fixture
def old_ledger(durable: Lab, tmp_path: Path) -> Iterator[OldLedger]:
    """Puts the ledger aside as it is; called again, a workspace that has that one, in a hub that is marked as restored.

    As where hub and ledger both come from copies of one time.
    """
    address = os.environ["KEYTURN_LEDGER"]
    aside = tmp_path / "ledger.db"
    moments: list[datetime] = []

    def lost(workspace: Workspace) -> Workspace:
        if not moments:
            moments.append(durable.hub.now())
            with closing(sqlite3.connect(address)) as there, closing(sqlite3.connect(aside)) as copy:
                there.backup(copy)
            return workspace
        mark_snapshot(durable.hub, moments[0], durable.hub.now())
        given = {"KEYTURN_LEDGER": str(aside), "KEYTURN_LEDGER_NAME": "default"}
        return replace(workspace, ledger=named_ledger(given, durable.hub))

    yield lost
    durable.hub.delete_state(RESTORED)


@pytest.mark.attack
def test_after_restoring_hub_and_ledger_no_copy_is_created_until_confirmed(durable: Lab, old_ledger: OldLedger) -> None:
    leaked, random, sound = (with_copy(make()) for make in (durable.alternating, durable.generated, durable.single))
    nowhere = durable.generated()
    opened = durable.open(leaked, random, sound, nowhere)
    opened.declared = [leaked, random, sound, nowhere]  # type: ignore[attr-defined]
    for secret in (leaked, random, sound, nowhere):
        times(durable, opened, secret.path, 1)
    old_ledger(opened.workspace)
    saved = snapshot(durable)
    for secret in (leaked, random):
        revoke_only(opened.workspace, secret.path, f"INC-{uuid.uuid4()}")
        assert opened.store.describe(remote(secret)) is None
    opened.store.delete(remote(sound))
    workspace = old_ledger(restore(durable, opened, saved))
    assert not durable.logs_in(durable.current(leaked))

    planned = plan(workspace)
    assert {item.action for item in planned.items} == {Action.AHEAD}
    assert any(line.startswith("THE HUB WAS RESTORED") and "its own snapshot" in line for line in planned.remarks)
    (why,) = (item.why for item in planned.items if item.path == leaked.path)
    assert "nothing has shown yet that version 2" in why
    assert f"keyturn repair recover {leaked.path}" in why
    made = replace(planned, items=tuple(replace(item, action=Action.CREATE) for item in planned.items))
    for work in (planned, made):
        results = carry_out(workspace, work, local_executor(Applier(workspace)))
        assert {result.kind for result in results} <= {Ahead.__name__}
    for secret in (leaked, random, sound):
        (pushed,) = sync_destinations(workspace, secret.path)
        assert (pushed.state, pushed.kind) == (CopyState.FAILED, Ahead.__name__)
        with pytest.raises(Ahead, match="nothing has shown yet"):
            rotate(workspace, secret.path, Trigger.EVENT)
        assert opened.store.describe(remote(secret)) is None

    abandon(workspace, Worker(workspace, leaked.path).staged(), "nobody wants it")
    (item,) = (item for item in plan(workspace).items if item.path == leaked.path)
    assert (item.version, item.action) == (3, Action.AHEAD), "what leaked is no other for being written once more"

    lost = behind(workspace)
    assert lost == Behind(sorted((leaked.path, random.path, sound.path)), (), (nowhere.path,))
    assert unshown(workspace, nowhere.path)[1] is None, "nothing is pushed of it, so it holds nothing up"
    outcomes = {path: recovered_unnamed(workspace, path) for path in lost.paths}
    assert outcomes[sound.path] is None
    assert durable.logs_in(copy_of(opened, sound))
    assert isinstance(outcomes[leaked.path], NotFound)
    assert "may have been revoked after the hub's backup" in str(outcomes[leaked.path])
    assert isinstance(outcomes[random.path], Ahead)
    assert f"no copy is at memory:{remote(random)}, as after a revocation" in str(outcomes[random.path])
    assert f"keyturn repair recover {random.path} --untested" in str(outcomes[random.path])
    assert opened.store.describe(remote(random)) is None, "--untested alone names no secret"
    assert behind(workspace).paths == sorted((leaked.path, random.path))

    assert recovered(workspace, random.path, dry_run=False, yes=True, untested=True, quiet=True, named=True)[1] is None
    assert copy_of(opened, random) == SecretFields(durable.current(random))
    outcome = rotate(workspace, leaked.path, Trigger.FORCE)
    assert [place.state for place in outcome.destinations] == [CopyState.CREATED]
    assert durable.logs_in(copy_of(opened, leaked))
    assert load_record(workspace, leaked.path).retiring is None, "what may have leaked gets no grace"
    assert load_record(workspace, leaked.path).history[-1].urgent

    left = behind(workspace)
    assert left.paths == []
    note_recovered(workspace, look_at_restoration(workspace.hub), left)
    assert workspace.open_restore() is None
    assert {item.action for item in plan(workspace).items} == {Action.IN_SYNC}
    opened.store.delete(remote(sound))
    assert sync_destinations(workspace, sound.path)[0].state is CopyState.CREATED


def recovered_unnamed(workspace: Workspace, path: str) -> KeyturnError | None:
    """What `keyturn repair recover --yes --untested` comes to for one of the secrets that it finds."""
    return recovered(workspace, path, dry_run=False, yes=True, untested=True, quiet=True, named=False)[1]


@pytest.mark.attack
def test_a_restored_hub_deletes_nothing_and_can_still_revoke(durable: Lab, old_ledger: OldLedger) -> None:
    secret = with_copy(durable.alternating())
    opened = opened_over(durable, secret)
    path = secret.path
    times(durable, opened, path, 1)
    old_ledger(opened.workspace)
    saved = snapshot(durable)
    workspace = old_ledger(restore(durable, opened, saved))
    opened.store.write("since", Sensitive("{}"), OwnershipTags("ml/since", 1, "00ff"), None)
    settings = {"kind": "aws-secrets-manager", "region": "eu-central-1", "deletion": "delete"}
    deleting = durable.open(secret, store_settings=settings).workspace
    planned = plan(replace(deleting, open_store=lambda name: opened.store))
    (item,) = (item for item in planned.items if item.name == "since")
    assert (item.action, item.kind) == (Action.BLOCKED, Ahead.__name__)
    assert "Nothing is deleted until `keyturn repair recover` has gone through" in item.why

    before = durable.current(secret)
    begin(
        workspace,
        Selection((path,)),
        incident="INC-again",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )
    assert finish(workspace, "INC-again").incident.closed_at
    assert not durable.logs_in(before)
    assert durable.logs_in(copy_of(opened, secret))


def revoke_only(workspace: Workspace, path: str, incident: str) -> None:
    """End it and make nothing new, in an incident that is closed."""
    begin(
        workspace,
        Selection((path,)),
        incident=incident,
        reason="leaked in a log",
        mode=Mode.REVOKE_ONLY,
        selector=path,
        triggered_at=workspace.clock(),
        consent=Consent(1),
    )
    assert finish(workspace, incident).incident.closed_at


def test_a_rotation_that_the_snapshot_set_back_to_pending_ends_nothing_that_lives(durable: Lab) -> None:
    secret = with_copy(durable.single())
    opened = opened_over(durable, secret)
    times(durable, opened, secret.path, 1)
    Worker(opened.workspace, secret.path).installed()
    saved = snapshot(durable)
    times(durable, opened, secret.path, 3)
    newest = durable.current(secret)
    workspace = restore(durable, opened, saved)
    assert load_record(workspace, secret.path).open is not None
    with pytest.raises(Ahead):
        rotate(workspace, secret.path, Trigger.SCHEDULE)
    assert durable.logs_in(newest)
    found = values(workspace, secret.path)
    recover(workspace, found, choose(found))
    record = load_record(workspace, secret.path)
    assert record.rotation is None
    assert record.history[-1].stage is Stage.ABANDONED
    assert durable.logs_in(newest)
    assert {name: durable.current(secret)[name] for name in newest} == newest
    rotate(workspace, secret.path, Trigger.FORCE)
    assert durable.logs_in(durable.current(secret))


def test_a_promoted_rotation_of_the_snapshot_ends_no_account_that_serves_again(durable: Lab) -> None:
    secret = durable.alternating(grace="0s")
    opened = opened_over(durable, secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    saved = snapshot(durable)
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    newest = durable.current(secret)
    workspace = restore(durable, opened, saved)
    assert load_record(workspace, secret.path).retiring is not None
    retirement = retire(workspace, secret.path)
    assert not retirement.retired
    assert "the ledger knows version" in retirement.held_by[0]
    assert durable.logs_in(newest)


def test_of_two_copies_that_disagree_the_newest_that_logs_in_wins(durable: Lab) -> None:
    secret = durable.single()
    names = (f"{remote(secret)}-a", f"{remote(secret)}-b")
    secret = secret.having(destinations=tuple({"store": "memory", "name": name} for name in names))
    opened = opened_over(durable, secret)
    times(durable, opened, secret.path, 1)
    saved = snapshot(durable)
    times(durable, opened, secret.path, 2)
    living, kept = durable.current(secret), opened.store._secrets[names[1]]
    before = (list(kept.values), kept.marks, kept.written)
    # The newest of all was pushed to one copy, and a database that was restored takes it no more.
    current = durable.hub.read(secret.path)
    assert current is not None
    durable.hub.write(secret.path, current.fields.merged({"password": "never-in-the-database"}), cas=current.version)
    sync_destinations(opened.workspace, secret.path)
    kept.values, kept.marks, kept.written = before[0], before[1], before[2]
    workspace = restore(durable, opened, saved)
    found = values(workspace, secret.path)
    assert [(one.place, one.lives) for one in found.found] == [
        (f"memory:{names[0]}", False),
        (f"memory:{names[1]}", True),
        (HUB, None),
    ]
    recover(workspace, found, choose(found))
    assert durable.current(secret) == living
    assert durable.logs_in(copy_named(opened, names[0]))
    assert durable.logs_in(copy_named(opened, names[1]))


def copy_named(opened: Opened, name: str) -> SecretFields:
    """What one copy holds."""
    import json

    return SecretFields(json.loads(opened.store.read(name).reveal()))


def test_where_nothing_lives_it_says_so_and_a_rotation_by_hand_goes_on(durable: Lab) -> None:
    secret = with_copy(durable.single())
    opened = opened_over(durable, secret)
    times(durable, opened, secret.path, 1)
    saved = snapshot(durable)
    times(durable, opened, secret.path, 2)
    workspace = restore(durable, opened, saved)
    durable.sql(f"ALTER ROLE {secret.users[0]} PASSWORD 'somebody-elses'")
    with pytest.raises(NotFound, match="no value that could be tried logs in") as caught:
        choose(values(workspace, secret.path))
    assert f"keyturn rotate {secret.path}" in caught.value.hint
    rotate(workspace, secret.path, Trigger.FORCE)
    assert durable.logs_in(durable.current(secret))
    assert durable.logs_in(copy_of(opened, secret))
    assert {item.action for item in plan(workspace).items if item.path == secret.path} == {Action.IN_SYNC}


def test_what_nobody_can_try_is_asked_for_by_name(durable: Lab) -> None:
    secret = with_copy(durable.generated())
    opened = opened_over(durable, secret)
    saved = snapshot(durable)
    times(durable, opened, secret.path, 2)
    newest = durable.current(secret)
    workspace = restore(durable, opened, saved)
    found = values(workspace, secret.path)
    with pytest.raises(Ahead, match="no login can test") as caught:
        choose(found)
    assert "--untested" in caught.value.hint
    recover(workspace, found, choose(found, untested=True))
    assert durable.current(secret) == newest


def test_a_copy_that_can_not_be_taken_says_why(durable: Lab) -> None:
    secret = durable.single()
    name = remote(secret)
    shapes: tuple[dict[str, Any], ...] = (
        {"name": f"{name}-1", "template": "pg://{username}:{password}@{host}"},
        {"name": f"{name}-2", "field": "password"},
        {"name": f"{name}-3", "fields": {"USER": "username", "HOST": "host"}},
        {"name": f"{name}-4", "fields": {"USER": "username", "PASS": "password"}},
        {"name": f"{name}-5"},
    )
    secret = secret.having(destinations=tuple({"store": "memory", **shape} for shape in shapes))
    opened = opened_over(durable, secret)
    saved = snapshot(durable)
    times(durable, opened, secret.path, 2)
    kept = opened.store._secrets[f"{name}-5"]
    kept.values[-1] = type(kept.values[-1])('{"password":"tampered"}')
    newest = durable.current(secret)
    workspace = restore(durable, opened, saved)
    found = values(workspace, secret.path)
    assert {one.place.rpartition("-")[2]: one.why for one in found.useless} == {
        "1": "it is made by a template",
        "2": "it holds one field alone",
        "3": "it holds a part of the credential alone",
        "5": "someone else changed it",
    }
    recover(workspace, found, choose(found))
    current = durable.current(secret)
    assert (current["username"], current["password"]) == (newest["username"], newest["password"])
    assert current["host"] == newest["host"]
    assert durable.logs_in(current)


def test_a_forced_rotation_of_a_hub_that_has_lost_versions_ends_no_account_that_serves_again(durable: Lab) -> None:
    secret = durable.alternating(grace="0s")
    opened = opened_over(durable, secret)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    saved = snapshot(durable)
    retire(opened.workspace, secret.path, Waive.EVERYTHING)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    workspace = restore(durable, opened, saved)
    rotation = load_record(workspace, secret.path).retiring
    assert rotation is not None
    assert not retire(workspace, secret.path, Waive.EVERYTHING, rotation.token).retired
    assert durable.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", secret.users[0]) == [(True,)]
    assert load_record(workspace, secret.path).history[-1].note.startswith("not ended: the hub is at version 2")
    rotate(workspace, secret.path, Trigger.FORCE)
    assert durable.logs_in(durable.current(secret))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("call", ["write", "patch_metadata", "write_state"])
@pytest.mark.parametrize("after", [False, True])
def test_a_recovery_that_dies_at_any_write_is_finished_by_the_next(durable: Lab, call: str, after: bool) -> None:
    secret = with_copy(durable.single())
    opened = opened_over(durable, secret)
    times(durable, opened, secret.path, 1)
    Worker(opened.workspace, secret.path).staged()
    saved = snapshot(durable)
    times(durable, opened, secret.path, 2)
    newest = durable.current(secret)
    workspace = restore(durable, opened, saved)
    inner = workspace.hub

    def dying(*given: Any, **named: Any) -> Any:
        if after:
            getattr(inner, call)(*given, **named)
        raise KeyboardInterrupt

    dead = replace(workspace, hub=Replaced(inner, **{call: dying}))
    found = values(workspace, secret.path)
    with pytest.raises(KeyboardInterrupt):
        recover(dead, found, choose(found))
    assert durable.logs_in(copy_of(opened, secret))
    found = values(workspace, secret.path)
    recover(workspace, found, choose(found))
    assert durable.current(secret) == newest
    assert durable.logs_in(newest)
    assert load_record(workspace, secret.path).rotation is None
    assert {item.action for item in plan(workspace).items if item.path == secret.path} == {Action.IN_SYNC}
