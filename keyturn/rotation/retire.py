"""After promotion: retire the old credential on evidence that it is no longer needed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from keyturn.core.compare_and_set import change_entry
from keyturn.core.errors import Conflict, KeyturnError, Locked, Superseded
from keyturn.core.overrides import Waive
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.strategies import AdjustsFields
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.rotation.attempt import still_named
from keyturn.rotation.copies.lineage_check import describe_ahead, lost_or_doubted
from keyturn.rotation.copies.previous_version import told_anywhere
from keyturn.rotation.copies.push import CopyState, Pushed, known_places, look_at_copies, sync_destinations
from keyturn.rotation.copies.restarts import unfinished_rollouts
from keyturn.rotation.decide import freezes
from keyturn.rotation.grace import beyond_max_grace, count_grace, grace_over
from keyturn.rotation.preconditions import describe_move
from keyturn.rotation.previous_targets import Retirement, credential_names
from keyturn.rotation.repair.missing_current import describe_missing
from keyturn.rotation.rollout import canary, notify_again
from keyturn.rotation.state.actions import Deed
from keyturn.rotation.state.approvals import insist_on_approval
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import current_entry
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.owners import another_owner
from keyturn.rotation.state.record_store import insist_on_holding, load_record, save, take_over, update_record

ROUNDS: Final = 5
"""How often a retirement starts again because another run wrote the record."""


class Overtaken(Conflict):
    """Another run has written the record since it was read, so the decision is outdated."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "retire", path, "another run has written its record meanwhile", "The next run continues with it"
        )


def retire(
    workspace: Workspace,
    path: str,
    waive: Waive = Waive.NOTHING,
    token: str | None = None,
    *,
    by_hand: bool = True,
) -> Retirement:
    """End the old credential when its grace period is over and all evidence exists. Absent is success.

    Notifies silent consumers first, and names what holds the credential back. ``max_grace``, and waiving everything,
    override that and are noted in the history. ``token`` restricts it to that rotation. A begun end (RETIRING) needs
    no evidence. A lock by another process holds it back. Raises Denied where a person waives everything (``by_hand``)
    without an approval that the site requires.
    """
    waiting = load_record(workspace, path).retiring
    if waiting is None:
        return Retirement(path, None, retired=False)
    if waive is Waive.EVERYTHING and by_hand and workspace.approvals.end_previous:
        about = {"secret": path, "version": waiting.version, "rotation": waiting.token}
        insist_on_approval(workspace, Deed("end previous", about, path, waiting.token))
    if waive is not Waive.EVERYTHING and waiting.stage is not Stage.RETIRING:
        secret = workspace.secret(path)
        notify_again(workspace, path, waiting, canary(secret, waiting) or secret.consumers)
    for _ in range(ROUNDS):
        try:
            return retired(workspace, path, waive, token)
        except Overtaken:
            continue  # such as an acknowledgement or a rollback
        except Locked as held:
            return Retirement(path, waiting.version, retired=False, held_by=(held.problem,))
    raise Overtaken(path)


def in_grace(workspace: Workspace, path: str, record: Record | None) -> bool:
    """Whether only its grace period, which has begun, holds the old credential, by the record."""
    rotation = record.retiring if record else None
    if rotation is None or rotation.stage is not Stage.PROMOTED or rotation.urgent:
        return False
    over = grace_over(workspace, path, rotation)
    all_acknowledged = set(workspace.secret(path).consumers) <= set(rotation.acknowledged)
    lasts = over is not None and workspace.hub_now() < over
    return all_acknowledged and lasts and not beyond_max_grace(workspace, path, rotation)


def retired(workspace: Workspace, path: str, waive: Waive, token: str | None) -> Retirement:
    """One try of :func:`retire` on the present record. Raises Overtaken, Locked, and the target's errors."""
    record = load_record(workspace, path)
    rotation = record.retiring
    if rotation is None or token not in (None, rotation.token):
        return Retirement(path, None, retired=False)
    if serves_again(workspace, path, rotation):
        return spared(workspace, path, record, rotation, SERVES_AGAIN)
    if elsewhere := describe_move(workspace, path, rotation):
        return leave(workspace, path, record, rotation, elsewhere, waive)
    if lost := lost_or_doubted(workspace, path, rotation.version or 0):
        return leave(workspace, path, record, rotation, describe_ahead(path, rotation.version or 0, lost), waive)
    if others := another_owner(workspace, path, rotation.ends):
        return spared(workspace, path, record, rotation, others)
    if rotation.stage is Stage.RETIRING:
        return end_credential(workspace, path, take_over(workspace, path, record, rotation))
    forced = waived(workspace, path, rotation, waive)
    if waive is Waive.EVERYTHING:
        bring_copies_along(workspace, path)
    copies = look_at_copies(workspace, path)
    record, rotation = noted(workspace, path, record, rotation, copies)
    held_by = tuple(obstacles(workspace, path, rotation, waive, copies))
    if held_by and not forced:
        return Retirement(
            path,
            rotation.version,
            retired=False,
            held_by=held_by,
            names=credential_names(workspace, path, rotation.ends),
        )
    note = f"{forced}: {'; '.join(held_by)}" if held_by else ""
    return replace(
        end_credential(workspace, path, save_retiring(workspace, path, record, rotation, note)), cut_off=held_by
    )


TRIES: Final = 3
"""How often a failed copy is pushed before an old credential that it may serve ends."""


def bring_copies_along(workspace: Workspace, path: str) -> list[Pushed]:
    """Push to every copy before the credential that it may serve ends; retries failed copies."""
    copies = sync_destinations(workspace, path)
    for _ in range(TRIES - 1):
        if all(copy.state is not CopyState.FAILED for copy in copies):
            break
        copies = sync_destinations(workspace, path)
    return copies


def noted(
    workspace: Workspace, path: str, record: Record, rotation: Rotation, copies: Sequence[Pushed]
) -> tuple[Record, Rotation]:
    """Record when all copies came into sync, or that one no longer is. Raises Overtaken."""
    noticed = count_grace(workspace, rotation, copies)
    if noticed == rotation:
        return record, rotation
    try:
        return save(workspace, path, record, noticed), noticed
    except Conflict:
        raise Overtaken(path) from None


SERVES_AGAIN: Final = "CURRENT names the old credential again"


def spared(workspace: Workspace, path: str, record: Record, rotation: Rotation, why: str) -> Retirement:
    """Close the rotation without ending anything. Raises Overtaken."""
    close_retired(workspace, path, record, rotation, f"not ended: {why}")
    if told_anywhere(workspace, path):
        sync_destinations(workspace, path)
    return Retirement(
        path, rotation.version, retired=False, names=credential_names(workspace, path, rotation.ends), left=why
    )


def leave(workspace: Workspace, path: str, record: Record, rotation: Rotation, why: str, waive: Waive) -> Retirement:
    """Keep waiting; where a person waives everything, close the rotation and leave the credential to that person."""
    if waive is not Waive.EVERYTHING:
        return Retirement(
            path,
            rotation.version,
            retired=False,
            held_by=(why,),
            names=credential_names(workspace, path, rotation.ends),
        )
    return spared(workspace, path, record, rotation, why)


def waived(workspace: Workspace, path: str, rotation: Rotation, waive: Waive) -> str:
    """Why the old credential ends whatever the evidence; empty when evidence is required."""
    if waive is Waive.EVERYTHING:
        return "waived"
    return "max_grace is over" if beyond_max_grace(workspace, path, rotation) else ""


def save_retiring(workspace: Workspace, path: str, record: Record, rotation: Rotation, note: str) -> Record:
    """Save stage RETIRING before the target is changed: from here on no run restores the old credential.

    Raises Overtaken where another run, such as a rollback, was faster.
    """
    notes = "; ".join(filter(None, (rotation.note, note)))
    try:
        return save(workspace, path, record, rotation.to(Stage.RETIRING, holder=workspace.holder, note=notes))
    except Conflict:
        raise Overtaken(path) from None


def end_credential(workspace: Workspace, path: str, record: Record) -> Retirement:
    """End the old credential at the target, remove its fields from CURRENT, and close the rotation.

    Spares a credential that a person has restored, or that a newer rotation has written at the target. Raises Locked
    where another run has taken it over.
    """
    rotation = record.retiring
    if rotation is None:
        return Retirement(path, None, retired=False)
    with record_action(workspace, "retire", path, place=workspace.target(path), note=rotation.note) as doing:
        doing.version, doing.fingerprint = rotation.version or 0, rotation.fingerprint
        if why := not_ended(workspace, path, record, rotation):
            doing.note = f"not ended: {why}"
            return spared(workspace, path, record, rotation, why)
        changed = tidy(workspace, path)
    close_retired(workspace, path, record, rotation, rotation.note)
    if changed or told_anywhere(workspace, path):
        sync_destinations(workspace, path)
    return Retirement(path, rotation.version, retired=True, names=credential_names(workspace, path, rotation.ends))


def not_ended(workspace: Workspace, path: str, record: Record, rotation: Rotation) -> str:
    """End the credential at the target; returns why it was spared, empty where it was ended."""
    if serves_again(workspace, path, rotation):
        return SERVES_AGAIN
    if others := another_owner(workspace, path, rotation.ends):
        return others
    insist_on_holding(workspace, path, record)
    try:
        workspace.open_strategy(path).retire(rotation.ends, rotation.sequence)
    except Superseded as superseded:
        if load_record(workspace, path).version != record.version:
            raise
        return superseded.problem  # as after a restored backup: the target already replaced it
    return ""


def tidy(workspace: Workspace, path: str) -> bool:
    """Write CURRENT without the fields that only the old credential needed; whether there were any."""

    def tidied(current: HubSecret | None) -> HubSecret | None:
        adjusts = capability(workspace.open_strategy(path), AdjustsFields)
        left = adjusts.cleanup_fields(current.fields) if current and adjusts else None
        if current is None or left is None or current.fields.holds(left):
            return None
        return replace(current, fields=current.fields.merged(left))

    _, written = change_entry(current_entry(workspace, path), tidied, workspace.pause)
    return written is not None


def serves_again(workspace: Workspace, path: str, rotation: Rotation) -> bool:
    """Whether CURRENT names the old credential again, so that ending it would end CURRENT."""
    current = workspace.hub.read(path) if rotation.ends else None
    return current is not None and still_named(
        rotation.ends, workspace.open_strategy(path).credential_id(current.fields)
    )


def obstacles(workspace: Workspace, path: str, rotation: Rotation, waive: Waive, copies: Sequence[Pushed]) -> list[str]:
    """Everything that speaks against ending the old credential now, in words for people."""
    secret = workspace.secret(path)
    reasons = []
    if gone := describe_missing(workspace.hub.describe(path), Record(rotation)):
        reasons.append(f"{gone}: what is old may be all that works")
    over = grace_over(workspace, path, rotation)
    if not (waive is Waive.GRACE or rotation.urgent) and over and workspace.hub_now() < over:
        reasons.append(f"its grace ends {over:%Y-%m-%d %H:%M:%S %Z}")
    reasons += frozen(workspace, path, rotation)
    reasons += [f"{c.store}:{c.name} is not in sync: {c.error or c.state}" for c in copies if not c.in_step]
    if not rotation.urgent:
        note = waive is not Waive.EVERYTHING
        reasons += unfinished_rollouts(workspace, known_places(workspace, path)[0], rotation.version, note=note)
    silent = sorted(set(secret.consumers) - set(rotation.acknowledged))
    reasons += [f"{consumer} {has_not(workspace, consumer)} version {rotation.version}" for consumer in silent]
    if waive is Waive.EVERYTHING:
        return [*reasons, *uses(workspace, path, rotation)]
    # Checked last, and only once nothing else speaks against it, to spare the target a query every few minutes. A
    # session of a suspected credential is no reason to keep it.
    return reasons or ([] if rotation.urgent else list(uses(workspace, path, rotation)))


def has_not(workspace: Workspace, consumer: str) -> str:
    """The words for a silent consumer."""
    return "has not acknowledged" if workspace.catalogue.consumer(consumer).answers else "could not be sent"


def on_it(workspace: Workspace, path: str) -> Retirement | None:
    """What ending the old credential now would cut off, without a change; None where none waits for its end."""
    rotation = load_record(workspace, path).retiring
    if rotation is None:
        return None
    if why := describe_move(workspace, path, rotation):
        return Retirement(
            path, rotation.version, retired=False, names=credential_names(workspace, path, rotation.ends), left=why
        )
    copies = look_at_copies(workspace, path)
    speaks_against = tuple(obstacles(workspace, path, rotation, Waive.EVERYTHING, copies))
    return Retirement(
        path,
        rotation.version,
        retired=False,
        held_by=speaks_against,
        names=credential_names(workspace, path, rotation.ends),
    )


def frozen(workspace: Workspace, path: str, rotation: Rotation) -> list[str]:
    """The freezes that hold the secret now; none for a suspected credential, which ends regardless."""
    holding = [freeze for freeze in freezes(workspace, path) if freeze.holds(workspace.clock())]
    return (
        []
        if rotation.urgent
        else [f"the freeze {freeze.name} ends {freeze.ends:%Y-%m-%d %H:%M %Z}" for freeze in holding]
    )


def uses(workspace: Workspace, path: str, rotation: Rotation) -> Sequence[str]:
    """Evidence that the old credential is still used; a target that can't be queried holds it back too."""
    if rotation.promoted_at is None:
        return ()
    try:
        return workspace.open_strategy(path).in_use(rotation.ends, rotation.promoted_at)
    except KeyturnError as error:
        return (f"its use is unknown: {error}",)


def close_retired(workspace: Workspace, path: str, record: Record, rotation: Rotation, note: str) -> None:
    """Move the rotation into the history. Already done by another worker is success.

    Raises Overtaken where the rotation is in another stage by now, such as taken back.
    """

    def closed(newest: Record) -> Record | None:
        waiting = rotation if newest is record else newest.retiring
        if waiting is None or waiting.token != rotation.token:
            return None
        if waiting.stage is not rotation.stage:
            raise Overtaken(path)
        return newest.having(waiting.to(Stage.RETIRED, closed_at=workspace.clock(), note=note))

    update_record(workspace, path, closed, first=record)
