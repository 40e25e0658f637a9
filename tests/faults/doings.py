"""What people, other tools and restored backups do, and how it is put right: a row of the table each.

Each either is right by itself, or one command says what is wrong and the next puts it right.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.candidates import CANDIDATES
from keyturn.rotation.repair.forget import forget
from keyturn.rotation.repair.removed_entries import left_open
from keyturn.rotation.repair.rename import rename
from keyturn.rotation.run import rotate
from keyturn.rotation.state.login_checks import Login, check_logins
from tests.crash.site import Site
from tests.faults.operators import Case
from tests.support.hooks import Hooked, dead_holder, raising

DOINGS: Final[list["Doing"]] = []
RESTORED: Final[list["Doing"]] = []
SITUATIONS: Final[list["Situation"]] = []


@dataclass(frozen=True)
class Doing:
    """A row: what somebody does, as docs/protocol.md says it, and what shows that Keyturn does what stands there."""

    text: str
    run: Callable[[Case], None]
    without: frozenset[str]


@dataclass(frozen=True)
class Situation:
    """A row whose secret is declared by the row itself, so it runs once and not for every kind of secret."""

    text: str
    run: Callable[[Site], None]


def situation(text: str) -> Callable[[Callable[[Site], None]], Callable[[Site], None]]:
    """Add a row that declares its own secret on the site's servers."""

    def add(run: Callable[[Site], None]) -> Callable[[Site], None]:
        SITUATIONS.append(Situation(text, run))
        return run

    return add


def doing(text: str, without: tuple[str, ...] = ()) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Add a row; ``without`` are the kinds of secret for which it means nothing."""

    def add(run: Callable[[Case], None]) -> Callable[[Case], None]:
        DOINGS.append(Doing(text, run, frozenset(without)))
        return run

    return add


def restored(text: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Add a row whose cases are rotated three times after a snapshot, which is then restored."""

    def add(run: Callable[[Case], None]) -> Callable[[Case], None]:
        RESTORED.append(Doing(text, run, frozenset()))
        return run

    return add


# --- versions in the hub


@doing("delete CURRENT, then revoke")
def deleted_and_revoked(case: Case) -> None:
    case.delete()
    case.revoke()
    case.assert_right()
    assert keeps_the_rest(case)


@doing("delete CURRENT, then revoke without a replacement")
def deleted_and_revoked_only(case: Case) -> None:
    case.delete()
    case.revoke(Mode.REVOKE_ONLY)
    assert case.current() is None
    assert case.rotate() == "", case.said
    case.assert_right()
    assert keeps_the_rest(case)


@doing("destroy CURRENT, then revoke")
def destroyed_and_revoked(case: Case) -> None:
    case.destroy()
    case.revoke()


@doing("remove the secret with its metadata, then revoke")
def removed_and_revoked(case: Case) -> None:
    case.remove()
    case.revoke()


@doing("delete the version before CURRENT, then revoke")
def older_deleted_and_revoked(case: Case) -> None:
    case.rotate()
    case.delete(1)
    case.revoke()
    case.assert_right()


@doing("delete CURRENT, a rotation comes due")
def deleted_and_due(case: Case) -> None:
    case.delete()
    case.passes(days=31)
    assert "deleted" in case.scheduled()
    case.kv("undelete_secret_versions", versions=[1])
    case.scheduled()
    case.assert_right()


@doing("destroy CURRENT after a rotation, another comes due")
def destroyed_and_due(case: Case) -> None:
    case.rotate()
    first = case.known[0]
    case.destroy()
    case.passes(days=31)
    assert "destroyed" in case.scheduled()
    said = case.rotate(ground=1)
    if said:
        assert "--end-previous" in said
        assert case.rotate(ground=1, end_previous=True) == "", case.said
    case.assert_right()
    current = case.current()
    assert current is not None
    assert current.reveal().keys() >= first.reveal().keys()


@doing("let the newest version expire (`delete_version_after`)")
def expired(case: Case) -> None:
    case.kv("update_metadata", delete_version_after="1s")
    case.put(case.known[0].merged({"note": "expires"}))
    case.until(lambda: case.current() is None)
    case.passes(days=31)
    assert "deleted" in case.scheduled()
    case.kv("update_metadata", delete_version_after="0s")
    assert case.rotate(ground=1) == "", case.said
    case.assert_right()


@doing("add a field to CURRENT")
def another_field(case: Case) -> None:
    case.put(case.known[0].merged({"note": "by hand"}))
    assert case.sync() == ""
    assert case.rotate() == "", case.said
    case.assert_right()
    current = case.current()
    assert current is not None
    assert current["note"].reveal() == "by hand"


@doing("put the old credential back after a rotation")
def put_back(case: Case) -> None:
    case.rotate()
    case.put(case.known[0])
    case.scheduled()
    if case.kind.refuses:
        assert case.lives(case.current())
    assert case.copy() == case.current()


@doing("destroy the version before CURRENT after a rotation")
def older_destroyed(case: Case) -> None:
    case.rotate()
    case.destroy(1)
    case.passes(days=31)
    case.scheduled()
    case.assert_right()


@doing("remove the secret with its metadata, a rotation comes due")
def removed_and_due(case: Case) -> None:
    case.rotate()
    living = case.current()
    case.remove()
    assert "keyturn repair recover" in case.scheduled()
    assert case.recover() == "", case.said
    assert case.current() == living
    case.assert_serving()
    case.rotate_with_room()
    case.assert_serving()


@doing("remove the secret with its metadata, write an old value again")
def removed_and_written_anew(case: Case) -> None:
    case.rotate()
    case.rotate(end_previous=True)
    living = case.current()
    case.remove()
    case.put(case.known[0])
    assert "keyturn repair recover" in case.scheduled()
    assert case.copy() == living
    assert case.recover() == "", case.said
    case.rotate_with_room()
    case.assert_right()


# --- a restored snapshot: run after the hub is at version 2 again, and was at version 5


@restored("restore a snapshot of the hub, the schedules continue")
def restored_and_due(case: Case) -> None:
    case.passes(days=31)
    assert "keyturn repair recover" in case.scheduled()
    assert case.recover() == "", case.said
    case.rotate_with_room()
    case.assert_right()


@restored("restore a snapshot of the hub, rotate at once")
def restored_and_rotated(case: Case) -> None:
    assert "keyturn repair recover" in case.rotate()
    assert case.recover() == "", case.said
    case.rotate_with_room()
    case.assert_right()


@restored("restore a snapshot of the hub, then revoke")
def restored_and_revoked(case: Case) -> None:
    standing = case.revoke()
    if standing.open:
        assert any("not proven" in said for secret in standing.secrets for said in secret.left)
    # A value that no target knows is nowhere to be looked for, once the hub has lost it.
    assert standing.open or case.kind.refuses
    if case.kind.refuses:
        assert case.lives(case.current())


# --- Keyturn's own state


@doing("delete the rotation's record, then rotate")
def record_deleted(case: Case) -> None:
    case.rotate()
    case.rotate(Trigger.FORCE)
    case.forget_record()
    case.rotate_with_room()
    case.assert_right()


@doing("delete the rotation's record, then revoke")
def record_deleted_and_revoked(case: Case) -> None:
    case.rotate()
    case.retire()
    case.rotate()
    case.forget_record()
    assert not case.revoke().open
    case.assert_right()


@doing("delete the candidate of an open rotation, then rotate")
def candidate_deleted(case: Case) -> None:
    lose_candidate(case)
    assert "keyturn repair forget" in case.rotate()
    forget(case.workspace, case.path)
    case.rotate_with_room()
    case.assert_right()


@doing("delete the candidate of an open rotation, then revoke")
def candidate_deleted_and_revoked(case: Case) -> None:
    lose_candidate(case)
    assert not case.revoke().open
    case.assert_right()


def lose_candidate(case: Case) -> None:
    """A worker is killed before it promotes, and somebody deletes the candidate that it has left."""
    hub = Hooked(case.workspace.hub, write=raising(KeyboardInterrupt()))
    with suppress(KeyboardInterrupt):
        rotate(replace(case.workspace, hub=hub, holder=dead_holder()), case.path, Trigger.FORCE)
    (candidate,) = case.site.lab.hub.list_state(f"{CANDIDATES}/{case.path}")
    case.site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(candidate, mount_point="keyturn")


@doing("write invalid data into the rotation's record")
def record_garbled(case: Case) -> None:
    case.rotate()
    case.site.lab.keep(f"rotations/{case.path}", {"rotation": {"stage": "?"}, "history": "no JSON"})
    assert case.path in case.scheduled()
    assert not case.revoke().open
    case.assert_right()


@doing("write invalid data into the secret's custom metadata")
def metadata_garbled(case: Case) -> None:
    case.kv("update_metadata", custom_metadata={"keyturn-rotated-at": "yesterday"})
    assert "keyturn-rotated-at" in case.scheduled()
    case.kv("update_metadata", custom_metadata={})
    assert case.rotate() == "", case.said
    case.assert_right()


@doing("set a worker's clock wrong by an hour")
def clock_wrong(case: Case) -> None:
    case.passes(hours=-1)
    assert case.rotate() == "", case.said
    case.passes(hours=2)
    case.retire()
    case.rotate()
    case.assert_right()


# --- the catalogue


@doing("rename the secret before its old credential has ended")
def renamed(case: Case) -> None:
    case.rotate()
    with case.renamed():
        said = [one.path for one in left_open(case.workspace)]
        assert case.old_path in said
        case.told(lambda: rename(case.workspace, case.old_path, case.path))
        assert case.old_path not in [one.path for one in left_open(case.workspace)]
        assert case.sync() == "", case.said
        assert case.rotate(end_previous=True) == "", case.said
        case.assert_right()


@doing("remove the secret from the catalogue before its old credential has ended")
def undeclared(case: Case) -> None:
    case.rotate()
    with case.taken_out():
        assert [one.path for one in left_open(case.workspace)].count(case.path) == 1
        forget(case.workspace, case.path)
        assert case.path not in [one.path for one in left_open(case.workspace)]
    assert case.lives(case.current())


# --- the target


@doing("change the password at the target", without=("generated", "aws-iam-key"))
def changed_at_the_target(case: Case) -> None:
    case.change_at_target()
    assert not case.lives(case.current())
    checks = check_logins(case.workspace, [case.path], whose_turn=False)
    assert checks[case.path].result is Login.REFUSED
    if said := case.rotate():
        assert "--end-previous" in said or "held" in said
    case.assert_right()


# --- the copy


@doing("delete the copy")
def copy_deleted(case: Case) -> None:
    case.site.cloud.delete_secret(SecretId=case.remote, ForceDeleteWithoutRecovery=True)
    assert case.sync() == ""
    case.assert_right()


@doing("write another value into the copy")
def copy_changed(case: Case) -> None:
    case.edit_copy()
    assert case.sync() == ""
    case.assert_right()


@doing("remove the tags of the copy")
def copy_stripped(case: Case) -> None:
    tags = case.site.cloud.describe_secret(SecretId=case.remote)["Tags"]
    case.site.cloud.untag_resource(SecretId=case.remote, TagKeys=[tag["Key"] for tag in tags])
    assert case.sync() == ""
    case.assert_right()


# --- commands in an order that nobody thought of


@doing("rotate twice while the first credential is in use")
def rotated_twice(case: Case) -> None:
    case.rotate()
    case.rotate()
    if case.kind.refuses:
        assert case.lives(case.current())
    case.retire(Waive.EVERYTHING)
    case.assert_right()


@doing("end the credential before CURRENT, even if in use (`--end-previous`)")
def previous_ended(case: Case) -> None:
    case.rotate()
    assert case.rotate(end_previous=True) == "", case.said
    case.assert_right()


@doing("revoke in the middle of the grace")
def revoked_in_grace(case: Case) -> None:
    case.rotate()
    assert not case.revoke().open
    case.assert_right()


def keeps_the_rest(case: Case) -> bool:
    """Whether CURRENT has all fields that are no part of the credential."""
    current = case.current()
    rest = {n: v for n, v in case.secret.first.items() if n not in {*case.kind.changes, "rotated_at", "expires_at"}}
    return current is not None and current.holds(SecretFields(rest))
