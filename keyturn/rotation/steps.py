"""The steps from a due secret to a promoted one: stage, install, verify, promote."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from keyturn.core.compare_and_set import VersionedEntry, change_entry
from keyturn.core.errors import (
    CandidateRejected,
    CertainRefusal,
    Conflict,
    CredentialLost,
    Invalid,
    Locked,
    NothingMade,
    Superseded,
)
from keyturn.core.ports.hub import EXPIRES_AT, ROTATED_AT, TOKEN, HubSecret
from keyturn.core.ports.strategies import EXPIRES_AT as EXPIRY_FIELD
from keyturn.core.ports.strategies import TOKEN_ACCESSOR, Change, RemovesOrphans
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import UNSAVED, Record, Rotation, Stage
from keyturn.core.schedule.due import Reason
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.attempt import Attempt, ends, newest_version, still_named
from keyturn.rotation.copies.lineage_check import ahead, lost_or_doubted
from keyturn.rotation.copies.rendered_templates import check_rendered
from keyturn.rotation.decide import UNFINISHED, Decision, SecretStatus, insist_on_room
from keyturn.rotation.declared import describe_missing_fields, known_stores, missing_fields
from keyturn.rotation.grace import counted_from_now
from keyturn.rotation.preconditions import check_target, describe_move, guard_candidate
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.repair.missing_current import insist_on_current, read_current
from keyturn.rotation.repair.recoverable_values import recovery_needed
from keyturn.rotation.repair.removed_entries import former_owner
from keyturn.rotation.state.context import T, Workspace
from keyturn.rotation.state.hourly_limits import insist_on_pace
from keyturn.rotation.state.journal import entry_mark, record_action
from keyturn.rotation.state.record_store import (
    claim,
    held_by_another,
    insist_on_holding,
    load_record,
    open_by,
    promoted_last,
    renumbered,
    save,
    update_record,
)


def resume(workspace: Workspace, path: str, token: str) -> Attempt:
    """The attempt, loaded again by names. Raises Superseded when it is over."""
    record = open_by(workspace, path, token)
    return Attempt(path, record, read_current(workspace, path, record))


def stage(workspace: Workspace, path: str, decision: Decision, status: SecretStatus | None = None) -> Attempt:
    """Save a candidate as PENDING, or continue with that of an earlier run.

    ``status`` is the decision's input, read again only if a rotation is open: all writes compare its versions. A
    candidate that can't continue is abandoned first. Raises Locked when another run holds or just finished the
    rotation, and CandidateRejected after too many refusals in a row.
    """
    attempt = begun(workspace, path, status if status and not status.record.rotation else None)
    record = attempt.record
    insist_on_lineage(workspace, attempt, by_hand=decision.by_hand)
    astray = strayed(workspace, attempt) if decision.by_hand else None
    if record.open and not astray:
        check_target(workspace, path, record.open)
        attempt = overtaking(workspace, attempt)
        record = attempt.record
    if why := astray or spoiled(workspace, attempt):
        closed = dropped(workspace, attempt, why)
        if not decision.by_hand:
            insist_on_room(path, closed.record)
        again = Reason("Abandoned", f"the candidate before it was given up: {why}")
        return stage(workspace, path, replace(decision, reason=again, seen=newest_version(workspace, closed)))
    if record.open is None:
        with record_action(workspace, "stage", path, note=decision.reason.message if decision.reason else ""):
            return open_rotation(workspace, attempt, decision)
    if record.open.stage is Stage.REVERTING:
        raise unretired(path, record.open)
    if record.open.stage in UNSAVED:
        with record_action(workspace, "stage", path, note="an earlier run died while it made a candidate"):
            remove_orphans(workspace, attempt)
            return mint(workspace, attempt)
    return attempt


def remove_orphans(workspace: Workspace, attempt: Attempt) -> None:
    """Remove what a mint that died before saving its candidate left at the target."""
    insist_on_holding(workspace, attempt.path, attempt.record)
    if orphans := capability(workspace.open_strategy(attempt.path), RemovesOrphans):
        fields = [attempt.current.fields] if attempt.current else []
        orphans.remove_orphans(attempt.rotation.before, fields)


def dropped(workspace: Workspace, attempt: Attempt, why: str) -> Attempt:
    """The attempt with its rotation given up, whether or not it has a candidate."""
    if attempt.rotation.stage not in UNSAVED:
        return abandon(workspace, attempt, why)
    with record_action(workspace, "abandon", attempt.path, note=why):
        remove_orphans(workspace, attempt)
        return close_unsaved(workspace, attempt, why)


def begun(workspace: Workspace, path: str, status: SecretStatus | None) -> Attempt:
    """The record, which this process now holds, and CURRENT, read only where ``status`` lacks them."""
    record = status.record if status else claim(workspace, path, load_record(workspace, path))
    return Attempt(path, record, (status and status.current) or read_current(workspace, path, record))


def overtaking(workspace: Workspace, attempt: Attempt) -> Attempt:
    """The attempt with a sequence number that the target accepts, while it still has work at the target."""
    if attempt.record.candidate and attempt.in_force:
        return attempt
    return replace(attempt, record=renumbered(workspace, attempt.path, attempt.record))


def insist_on_lineage(workspace: Workspace, attempt: Attempt, *, by_hand: bool) -> None:
    """Raises Ahead rather than continue from a version that is behind the ledger.

    A person may, once no copy's value has to be recovered first. A revocation always may.
    """
    if attempt.record.frozen:
        return
    lost = lost_or_doubted(workspace, attempt.path, attempt.current.version if attempt.current else 0)
    if lost and not (by_hand and not recovery_needed(workspace, attempt.path)):
        raise ahead(workspace, attempt.path, lost, "rotate")


def strayed(workspace: Workspace, attempt: Attempt) -> str | None:
    """Why a candidate may have to stay at its old target; None where the catalogue still names that target."""
    rotation = attempt.record.open
    if rotation is None or rotation.stage not in (Stage.PENDING, Stage.ABANDONING) or attempt.in_force:
        return None
    return describe_move(workspace, attempt.path, rotation) or None


def spoiled(workspace: Workspace, attempt: Attempt) -> str | None:
    """Why the candidate of an earlier run can't continue; None when it can, or when there is none."""
    rotation = attempt.record.open
    if rotation is None or rotation.stage is Stage.REVERTING:
        return None
    if rotation.stage is Stage.ABANDONING:
        return rotation.note
    unsaved = rotation.stage in UNSAVED
    if (not unsaved and attempt.in_force) or still_named(rotation.ends, ends(workspace, attempt)):
        return None
    return "CURRENT names another credential than when this rotation began"


def open_rotation(workspace: Workspace, attempt: Attempt, decision: Decision) -> Attempt:
    """Open the rotation with its candidate; a mint that acts at the target saves its intent first."""
    path, record = attempt.path, attempt.record
    if record.retiring:
        raise unretired(path, record.retiring)
    base = newest_version(workspace, attempt)
    if base != decision.seen or decision.reason == UNFINISHED:
        problem = f"another run has finished with version {base} a moment ago"
        raise Locked("rotate", path, problem, "Nothing to do: it is done")
    if not (base or record.version):
        insist_on_new(workspace, path)
    insist_on_pace(workspace, path, record, decision.reason.code if decision.reason else "")
    strategy = workspace.open_strategy(path)
    if not decision.changes_account:
        insist_on_fields(workspace, path, attempt.serving)
    strategy.preflight(None if decision.changes_account else attempt.serving, None)
    orphans = capability(strategy, RemovesOrphans)
    rotation = Rotation(
        token=str(uuid.uuid4()),
        sequence=record.next_sequence(),
        stage=Stage.MINTING if strategy.mints_at_target else Stage.PENDING,
        strategy=workspace.secret(path).rotation.strategy,
        reason=decision.reason.code if decision.reason else "",
        holder=workspace.holder,
        opened_at=workspace.clock(),
        base_version=base,
        ends=ends(workspace, attempt),
        before=tuple(orphans.existing_ids()) if orphans else (),
        target=workspace.target(path),
        urgent=decision.urgent,
        catalogue=workspace.catalogue.id,
        changes_account=decision.changes_account,
        stores=known_stores(workspace, path),
    )
    if strategy.mints_at_target:
        opened = take(workspace, attempt, rotation, None)
        return mint(workspace, replace(attempt, record=renumbered(workspace, path, opened, fresh=True)))
    opened = take(workspace, attempt, rotation, minted(workspace, attempt, rotation))
    return replace(attempt, record=renumbered(workspace, path, opened, fresh=True))


def insist_on_fields(workspace: Workspace, path: str, serving: SecretFields | None) -> None:
    """Raises Invalid rather than replace fields that the hub's secret lacks: the serving value would not change."""
    if serving is None or not (missing := missing_fields(workspace, path, serving)):
        return
    problem = describe_missing_fields(missing, serving)
    hint = f"Correct the catalogue. To add what it declares: `keyturn rotate {path} --now --change-account`"
    raise Invalid("rotate", path, problem, hint)


def insist_on_new(workspace: Workspace, path: str) -> None:
    """Raises Invalid for a first version whose account serves under the secret's former name."""
    if old := former_owner(workspace, path):
        problem = f"its account is the one of {old}, which the catalogue declares no more: who uses it would be cut off"
        forget = f"`keyturn repair forget {old}`"
        hint = f"`keyturn repair rename {old} {path}` carries it over. If it is not needed, {forget}"
        raise Invalid("rotate", path, problem, hint)


def take(workspace: Workspace, attempt: Attempt, rotation: Rotation, candidate: SecretFields | None) -> Record:
    """Write the record that opens ``rotation``. Raises Locked when another worker opened one first."""
    try:
        return save(workspace, attempt.path, attempt.record, rotation, candidate)
    except Conflict:
        winner = load_record(workspace, attempt.path).rotation
        raise held_by_another(attempt.path, winner or rotation) from None


def mint(workspace: Workspace, attempt: Attempt) -> Attempt:
    """Make the candidate with a strategy that mints at the target, and save it at once.

    Where another worker took the rotation over meanwhile, abandons the candidate and raises Locked. Raises
    CredentialLost, which the record then says, and NothingMade, which closes the rotation.
    """
    path, rotation = attempt.path, attempt.rotation
    insist_on_holding(workspace, path, attempt.record)
    try:
        candidate = minted(workspace, attempt, rotation)
    except CredentialLost as lost:
        if rotation.stage is not Stage.LOST:
            save(workspace, path, attempt.record, rotation.to(Stage.LOST, note=f"{lost.problem}. {lost.hint}"))
        raise
    except NothingMade as refusal:
        close_unsaved(workspace, attempt, refusal.problem, refused=True)
        raise
    try:
        return replace(attempt, record=save(workspace, path, attempt.record, rotation.to(Stage.PENDING), candidate))
    except Conflict:
        if not left_to_winner(workspace, attempt, candidate):
            unsaved = Change(path, rotation.sequence, candidate, attempt.serving)
            workspace.open_strategy(path).abandon(unsaved)
        raise held_by_another(path, load_record(workspace, path).rotation or rotation) from None


def left_to_winner(workspace: Workspace, attempt: Attempt, candidate: SecretFields) -> bool:
    """Save the only working credential for the worker that has taken the rotation over, unless it has one itself.

    For a mint that ended CURRENT: without this its successor would be lost.
    """
    if workspace.open_strategy(attempt.path).overlaps:
        return False

    def added(record: Record) -> Record | None:
        same = record.rotation is not None and record.rotation.token == attempt.rotation.token
        if not same or record.rotation is None or record.rotation.stage not in UNSAVED:
            return None
        return record.having(record.rotation.to(Stage.PENDING), candidate)

    newest = update_record(workspace, attempt.path, added)
    return newest.candidate is not None and newest.candidate.holds(candidate)


def close_unsaved(workspace: Workspace, attempt: Attempt, why: str, *, refused: bool = False) -> Attempt:
    """Close a rotation without a candidate. Raises Conflict when another worker wrote first."""
    closed = attempt.rotation.to(Stage.ABANDONED, closed_at=workspace.clock(), note=why, refused=refused)
    return replace(attempt, record=save(workspace, attempt.path, attempt.record, closed))


def minted(workspace: Workspace, attempt: Attempt, rotation: Rotation) -> SecretFields:
    """A new candidate with its creation time, which distinguishes it from every other version."""
    strategy = workspace.open_strategy(attempt.path)
    candidate = strategy.mint(attempt.beside(strategy.credential_fields, rotation))
    return candidate.merged({"rotated_at": workspace.clock().isoformat()})


def install(workspace: Workspace, attempt: Attempt) -> None:
    """Make the target accept the candidate. Already done is success. Raises CandidateRejected."""
    if attempt.record.open and not attempt.in_force:
        token = attempt.candidate.get(TOKEN_ACCESSOR)
        note = f"token {token.reveal()}" if token else ""
        with record_action(workspace, "install", attempt.path, place=workspace.target(attempt.path), note=note):
            trying(workspace, attempt, lambda _: guard_candidate(workspace, attempt))
            trying(workspace, attempt, workspace.open_strategy(attempt.path).install)


def verify(workspace: Workspace, attempt: Attempt) -> None:
    """Log in with the candidate on a new connection, and with the copies that are connection strings.

    Already promoted is success. Raises CandidateRejected.
    """
    if attempt.record.open and not attempt.in_force:
        with record_action(
            workspace, "verify", attempt.path, place=workspace.target(attempt.path), changes=False
        ) as doing:
            trying(workspace, attempt, workspace.open_strategy(attempt.path).verify)
            doing.note = trying(workspace, attempt, lambda _: check_rendered(workspace, attempt))


def trying(workspace: Workspace, attempt: Attempt, verb: Callable[[Change], T]) -> T:
    """Run ``verb``; a candidate that the target refuses is abandoned, so that another can be made."""
    try:
        return verb(attempt.change())
    except CandidateRejected as rejected:
        certain = isinstance(rejected, CertainRefusal)
        why = f"{rejected.problem}. {rejected.hint}" if certain else rejected.problem
        abandon(workspace, attempt, why, refused=True, certain=certain)
        raise


def promote(workspace: Workspace, attempt: Attempt) -> Attempt:
    """Make the candidate CURRENT: the one point of no return. Already CURRENT is success."""
    if attempt.record.open is None:
        return attempt
    with record_action(workspace, "promote", attempt.path) as doing:
        after = in_force(workspace, attempt)
        doing.version, doing.fingerprint = after.rotation.version or 0, after.rotation.fingerprint
    return after


def in_force(workspace: Workspace, attempt: Attempt) -> Attempt:
    """Write the candidate as CURRENT, and then the record. Raises Superseded, Conflict."""
    path, rotation = attempt.path, going_on(attempt).rotation
    current = write_current(workspace, attempt)
    custom = attempt.current.custom if attempt.current else {}
    marks = metadata_of(workspace, path, attempt.candidate, rotation) | entry_mark(custom, current.version)
    workspace.hub.patch_metadata(path, marks)
    promoted = rotation.to(
        Stage.PROMOTED,
        version=current.version,
        fingerprint=workspace.fingerprint(current.path, current.fields),
        promoted_at=workspace.clock(),
        **counted_from_now(workspace, path),
    )
    try:
        return Attempt(path, save(workspace, path, attempt.record, promoted), current)
    except Conflict:
        tell_again(workspace, path)
        raise


def metadata_of(workspace: Workspace, path: str, fields: SecretFields, rotation: Rotation) -> dict[str, str | None]:
    """The secret's metadata for ``fields``, which ``rotation`` put in force or restored."""
    plain = fields.reveal()
    made = plain.get("rotated_at") or written_before(workspace, path, rotation)
    return {ROTATED_AT: made, EXPIRES_AT: plain.get(EXPIRY_FIELD), TOKEN: rotation.token}


def written_before(workspace: Workspace, path: str, rotation: Rotation) -> str | None:
    """When the version that a rotation restored was written; None for a rotation that made its own."""
    if rotation.stage not in (Stage.REVERTING, Stage.REVERTED):
        return None
    info = workspace.hub.describe(path)
    versions = info.versions if info else ()
    before = next((version for version in versions if version.version == rotation.base_version), None)
    return before.created_at.isoformat() if before else None


def tell_again(workspace: Workspace, path: str) -> None:
    """Write the metadata of CURRENT again, after a late worker wrote that of an older version."""

    def look() -> tuple[Record, HubSecret | None]:
        return load_record(workspace, path), workspace.hub.read(path)

    def told(there: tuple[Record, HubSecret | None]) -> dict[str, str | None] | None:
        record, current = there
        try:
            in_force = current and record.candidate and current.fields.holds(record.candidate)
        except Superseded:
            return {}  # the record has changed, which the write below detects
        newest = record.open if in_force else promoted_last(record)
        return metadata_of(workspace, path, current.fields, newest) if newest and current else None

    def write(there: tuple[Record, HubSecret | None], custom: dict[str, str | None]) -> None:
        workspace.hub.patch_metadata(path, custom)
        record, current = look()
        if (record.version, current) != (there[0].version, there[1]):
            raise Conflict("tell of", path, "it has changed meanwhile", "It is notified again")

    change_entry(VersionedEntry(f"the metadata of {path}", look, write), told, workspace.pause)


def write_current(workspace: Workspace, attempt: Attempt) -> HubSecret:
    """Compare-and-set the candidate onto the secret's path; fields that it lacks keep their value."""

    def merged(latest: Attempt) -> SecretFields | None:
        if latest.current and latest.in_force:
            return None
        return (latest.ground or SecretFields({})).merged(latest.candidate)

    def write(latest: Attempt, fields: SecretFields) -> HubSecret:
        version = workspace.hub.write(latest.path, fields, cas=newest_version(workspace, latest))
        return HubSecret(latest.path, version, fields)

    entry = VersionedEntry(attempt.path, lambda: seen_again(workspace, attempt), write)
    latest, written = change_entry(entry, merged, workspace.pause, first=attempt)
    # ``written`` is None only where CURRENT already holds the candidate.
    return written or cast(HubSecret, latest.current)


def seen_again(workspace: Workspace, attempt: Attempt) -> Attempt:
    """The attempt with the secret as it is now. Raises Superseded when the credential itself has changed.

    Reads CURRENT before the record: a rotation is marked as abandoned before CURRENT changes.
    """
    current = workspace.hub.read(attempt.path)
    again = going_on(Attempt(attempt.path, open_by(workspace, attempt.path, attempt.rotation.token), current))
    if current is None:
        insist_on_current(attempt.path, workspace.hub.describe(attempt.path), again.record)
    if not again.in_force and not still_named(attempt.rotation.ends, ends(workspace, again)):
        problem = "CURRENT names another credential than when this rotation began"
        raise Superseded("promote", attempt.path, problem, "It was written by hand: run the rotation again")
    return again


def going_on(attempt: Attempt) -> Attempt:
    """The attempt, while its candidate is PENDING. Raises Superseded."""
    if attempt.rotation.stage is not Stage.PENDING:
        problem = f"another run has it, rotation {attempt.rotation.token} is {attempt.rotation.stage}"
        raise Superseded("promote", attempt.path, problem, "Nothing is lost: a later run finishes it")
    return attempt


def unretired(path: str, rotation: Rotation) -> Locked:
    """The error for a new rotation that must wait until the last old credential is retired."""
    problem = f"version {rotation.version} is in force, and the credential before it is not retired yet"
    hint = f"`keyturn retire {path}` shows what holds it, and `keyturn rotate {path} --now --end-previous` ends it"
    return Locked("rotate", path, problem, hint)
