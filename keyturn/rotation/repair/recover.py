"""Recover the newest working value into a hub that has lost it, from a copy that still holds it."""

import uuid
from dataclasses import dataclass

from keyturn.core.errors import Ahead, Conflict, Locked, NotFound, Superseded
from keyturn.core.ports.hub import EXPIRES_AT, OVERTAKEN, ROTATED_AT, TOKEN, HubSecret
from keyturn.core.ports.strategies import EXPIRES_AT as EXPIRY_FIELD
from keyturn.core.rotation_record import UNSAVED, Record, Rotation, Stage
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.copies.lineage_check import REVOKE_ONLY, describe_ahead, remedy
from keyturn.rotation.copies.push import Pushed, sync_destinations
from keyturn.rotation.grace import counted_from_now
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.repair.recoverable_values import HUB, HeldValues, Value
from keyturn.rotation.repair.suspect_versions import proof
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import entry_mark, record_action
from keyturn.rotation.state.record_store import claim, load_record, save


@dataclass(frozen=True)
class Recovery:
    """A recovered value, in names only: its source, and its new version in the hub."""

    path: str
    place: str
    held: int
    version: int
    fingerprint: str
    tried: bool
    copies: tuple[Pushed, ...] = ()


def choose(held: HeldValues, *, untested: bool = False, named: bool = True) -> Value:
    """The newest value that works; with ``untested``, also the newest with an unknown login result.

    An untested CURRENT that is not the newest, or is in a restored hub, must be ``named``: it may be dead or revoked.
    Raises NotFound where nothing works, and Ahead where the result is unknown without ``untested``, or the value was
    revoked.
    """
    if ended := held.lost_end:
        words = describe_ahead(held.path, held.hub_version, ended)
        raise Ahead("recover", held.path, words, remedy(held.path, ended))
    if held.living:
        return held.living
    if held.untried and held.untried.place == HUB and held.doubt and not (untested and named):
        raise unproven(held)
    if held.untried and untested:
        if named or held.untried.place != HUB or held.newest_known <= held.hub_version:
            return held.untried
        problem = f"version {held.newest_known} is known, and the hub's {held.hub_version} may be dead or rewritten"
        keep = f"keyturn repair recover {held.path} --untested"
        hint = f"Make a new one: keyturn rotate {held.path} --now; or keep it: {keep}"
        raise Ahead("recover", held.path, problem, hint)
    if held.untried:
        problem = f"no login can test whether what {held.untried.place} holds works"
        hint = f"See what uses it, then: keyturn repair recover {held.path} --untested"
        raise Ahead("recover", held.path, problem, hint)
    why = "; ".join(f"{value.place}: {value.why}" for value in held.useless)
    problem = f"no value that could be tried logs in{f' ({why})' if why else ''}"
    first = "" if held.current else "Write its fields to the hub again (`vault kv put`). "
    hint = f"{first}Make a new one: keyturn rotate {held.path} --now; or bring the newest backup of the hub back"
    if held.doubt:
        problem += ", and it may have been revoked after the hub's backup was made"
        hint += f"; or end it: keyturn revoke {held.path} --mode {REVOKE_ONLY} --reason ..."
    raise NotFound("recover", held.path, problem, hint)


def unproven(held: HeldValues) -> Ahead:
    """The error for an untested CURRENT that may have been revoked since the hub's backup."""
    since = f"{held.doubt.as_of:%Y-%m-%d %H:%M %Z}" if held.doubt and held.doubt.as_of else "then"
    missing = f", and no copy is at {', '.join(held.absent)}, as after a revocation" if held.absent else ""
    problem = (
        f"it could not be proven that version {held.hub_version} was not revoked "
        f"after {since}: no login can test whether it works{missing}"
    )
    hint = (
        f"Ask who was on call. If it was not revoked: keyturn repair recover {held.path} "
        f"--untested. If it was, or it is unknown: keyturn rotate {held.path} --now,"
        f" or keyturn revoke {held.path} --mode {REVOKE_ONLY} --reason ..."
    )
    return Ahead("recover", held.path, problem, hint)


def recover(workspace: Workspace, held: HeldValues, chosen: Value) -> Recovery:
    """Make ``chosen`` CURRENT, close the old record's rotation, and bring every copy into sync.

    Safe to repeat. Raises Conflict when the secret has changed meanwhile, and Locked while a rotation or revocation
    holds it.
    """
    path = held.path
    with record_action(workspace, "recover", path, place=chosen.place, note=describe_origin(chosen)) as doing:
        record = insist_on_free(workspace, path)
        current = in_force(workspace, held, chosen)
        settle_record(workspace, path, record, current, chosen.place)
        doing.version, doing.fingerprint = newest(workspace, current), workspace.fingerprint(path, current.fields)
        doing.note += ", and logs in" if chosen.lives else ", untried"
    copies = tuple(sync_destinations(workspace, path))
    return Recovery(path, chosen.place, chosen.version, doing.version, doing.fingerprint, bool(chosen.lives), copies)


def describe_origin(chosen: Value) -> str:
    """The value's version, for the ledger."""
    return f"it was version {chosen.version}" if chosen.version else "it was a candidate, not yet in force"


def insist_on_free(workspace: Workspace, path: str) -> Record:
    """The record, held by no other process. Raises Locked."""
    record = claim(workspace, path, load_record(workspace, path))
    if record.frozen:
        hint = f"See `keyturn incidents`: it replaces the secret, or `keyturn rotate {path} --now` does"
        raise Locked("recover", path, f"the incident {record.frozen} has ended its credential", hint)
    return record


def in_force(workspace: Workspace, held: HeldValues, chosen: Value) -> HubSecret:
    """Compare-and-set the value unless it is CURRENT, and record in the metadata what it overtakes."""
    path, current = held.path, held.current
    if chosen.place == HUB and current is not None:
        written = current
    else:
        try:
            version = workspace.hub.write(path, chosen.fields, cas=held.hub_version)
        except Conflict:
            hint = f"Look again: keyturn repair recover {path}"
            raise Conflict("recover", path, "the hub's secret has changed since it was looked at", hint) from None
        written = HubSecret(path, version, chosen.fields)
    workspace.hub.patch_metadata(path, _metadata_of(workspace, held, written))
    return written


def _metadata_of(workspace: Workspace, held: HeldValues, written: HubSecret) -> dict[str, str | None]:
    """The value's metadata: its age, its expiry, and which lost versions no longer count."""
    plain = written.fields.reveal()
    lost: dict[str, str | None] = {}
    if held.newest_known > written.version:
        lost[OVERTAKEN] = str(held.newest_known)
    lost |= proof(workspace, written.version)
    if held.current is not None and written.version == held.current.version:
        return lost
    made = plain.get("rotated_at") or workspace.clock().isoformat()
    mark = entry_mark(held.current.custom if held.current else {}, written.version)
    return {ROTATED_AT: made, EXPIRES_AT: plain.get(EXPIRY_FIELD), TOKEN: str(uuid.uuid4()), **lost, **mark}


def settle_record(workspace: Workspace, path: str, record: Record, current: HubSecret, place: str) -> None:
    """Close the outdated rotation of the record, so that it ends nothing."""
    rotation, why = record.rotation, f"the hub had lost what came after it: recovered from {place}"
    if rotation is None:
        return
    if rotation.stage in (Stage.PENDING, Stage.ABANDONING) and record.candidate is not None:
        if current.fields.holds(record.candidate):
            save(workspace, path, record, promoted_then(workspace, path, rotation, current))
        else:
            give_up(workspace, Attempt(path, record, current), why)
    elif rotation.stage in UNSAVED:
        save(workspace, path, record, rotation.to(Stage.ABANDONED, closed_at=workspace.clock(), note=why))
    else:
        close_recovery(workspace, path, record, rotation, f"not ended: {why}")


def promoted_then(workspace: Workspace, path: str, rotation: Rotation, current: HubSecret) -> Rotation:
    """The promoted rotation of a recovered candidate: its old credential ends after the grace period."""
    digest, now = workspace.fingerprint(path, current.fields), workspace.clock()
    changes = {"version": current.version, "fingerprint": digest, "promoted_at": now}
    return rotation.to(Stage.PROMOTED, **changes, **counted_from_now(workspace, path))


def give_up(workspace: Workspace, attempt: Attempt, why: str) -> None:
    """Abandon a candidate; a target that has a newer number refuses, which is fine."""
    try:
        abandon(workspace, attempt, why)
    except Superseded:
        left = load_record(workspace, attempt.path)
        if left.rotation and left.rotation.stage is Stage.ABANDONING:
            save(
                workspace, attempt.path, left, left.rotation.to(Stage.ABANDONED, closed_at=workspace.clock(), note=why)
            )


def close_recovery(workspace: Workspace, path: str, record: Record, rotation: Rotation, note: str) -> None:
    """Move a promoted or reverting rotation into the history without ending anything."""
    if rotation.stage is Stage.REVERTING:
        rotation = rotation.to(Stage.REVERTED)
    save(workspace, path, record, rotation.to(Stage.RETIRED, closed_at=workspace.clock(), note=note))


def newest(workspace: Workspace, current: HubSecret) -> int:
    """The newest version that holds the value: abandoning a candidate writes it again."""
    info = workspace.hub.describe(current.path)
    return info.version if info else current.version
