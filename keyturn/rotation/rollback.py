"""Roll a promoted rotation back: the previous value is CURRENT again, and both credentials work."""

from dataclasses import replace

from keyturn.core.compare_and_set import change_entry
from keyturn.core.errors import Conflict, Locked, NotFound, Superseded
from keyturn.core.ports.hub import HubSecret
from keyturn.core.ports.strategies import AdjustsFields, Change, RollsBack, Strategy
from keyturn.core.rights.capabilities import capability
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.grace import counted_from_now
from keyturn.rotation.preconditions import check_target
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import current_entry
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record, open_by, renumbered, save
from keyturn.rotation.steps import metadata_of


def revertible(workspace: Workspace, path: str) -> Rotation:
    """The last rotation, if it can be rolled back: within its grace period, while the previous credential works.

    Also one whose rollback was interrupted or is done. Raises NotFound where nothing is left to restore, Locked where
    the secret is held, and Superseded where the old credential is suspected or refused.
    """
    record = load_record(workspace, path)
    rotation = record.rotation
    if rotation is None:
        problem = "no credential from before its last rotation is left: that has ended"
        raise NotFound("take back", path, problem, f"Make a new one: keyturn rotate {path} --now")
    if rotation.stage in (Stage.REVERTING, Stage.REVERTED):
        return rotation
    if record.frozen or rotation.stage is not Stage.PROMOTED:
        by = f"the incident {record.frozen}" if record.frozen else f"a rotation that is {rotation.stage}"
        raise Locked("take back", path, f"{by} holds it", "See `keyturn status` and `keyturn incidents`")
    if rotation.urgent:
        problem = f"what was before version {rotation.version} was replaced because others may know it"
        raise Superseded("take back", path, problem, f"Make a new one: keyturn rotate {path} --now")
    before = previous(workspace, path, record, rotation)
    strategy = workspace.open_strategy(path)
    if strategy.mints_at_target and not strategy.overlaps:
        problem = f"what version {before.version} holds ended when its successor was made, and nothing can revive it"
        raise Superseded("take back", path, problem, f"Make a new one: keyturn rotate {path} --now")
    if strategy.overlaps and strategy.accepts(before.fields) is False:
        problem = f"the target does not let in what version {before.version} holds"
        raise Superseded("take back", path, problem, f"Make a new one: keyturn rotate {path} --now")
    return rotation


def insist_on_login(workspace: Workspace, path: str) -> None:
    """Log in with the restored value. Raises Superseded where the target refuses it."""
    current = workspace.hub.read(path)
    if current is not None and workspace.open_strategy(path).accepts(current.fields) is False:
        problem = f"version {current.version} holds the value from before, but the target does not let it in"
        raise Superseded("take back", path, problem, f"Make a new one at once: keyturn rotate {path} --now")


def rollback(workspace: Workspace, path: str, token: str, why: str, *, by_hand: bool = False) -> Rotation:
    """Make the version before rotation ``token`` CURRENT again. Already done is success.

    The rotation's credential is retired after its grace period. ``by_hand``: a person asked, not the canary. Raises
    NotFound without an earlier version, and Superseded when CURRENT has changed or the old credential is being ended.
    """
    record = open_by(workspace, path, token)
    rotation = record.rotation
    if rotation is None or rotation.stage is Stage.REVERTED:
        return rotation or closed(path, token)
    if rotation.stage is Stage.RETIRING:
        problem = f"the credential before version {rotation.version} is being ended, so it can't serve again"
        hint = f"Version {rotation.version} stays in force: fix the consumers, or rotate again"
        raise Superseded("take back", path, problem, hint)
    check_target(workspace, path, rotation)
    with record_action(workspace, "revert", path, place=workspace.target(path), note=why) as doing:
        reverted = taken_back(workspace, path, record, why, by_hand=by_hand)
        doing.version, doing.fingerprint = reverted.version or 0, reverted.fingerprint
    return reverted


def finish_rollback(workspace: Workspace, path: str) -> Rotation | None:
    """Finish an interrupted rollback and return its rotation; None where there is none."""
    rotation = load_record(workspace, path).open
    if rotation is None or rotation.stage is not Stage.REVERTING:
        return None
    return rollback(workspace, path, rotation.token, rotation.note)


def taken_back(workspace: Workspace, path: str, record: Record, why: str, *, by_hand: bool = False) -> Rotation:
    """The rotation of ``record`` once the version before it is CURRENT again."""
    rotation = record.rotation or closed(path, "")
    before = previous(workspace, path, record, rotation)
    if rotation.stage is not Stage.REVERTING:
        rotation = replace(doomed(workspace, path, record, rotation, why), taken_back_by_hand=by_hand)
        record = save(workspace, path, record, rotation)
    record, restored = put_back(workspace, path, record, before)
    workspace.hub.patch_metadata(path, metadata_of(workspace, path, before.fields, rotation))
    return close_reverted(workspace, path, record, restored)


def doomed(workspace: Workspace, path: str, record: Record, rotation: Rotation, why: str) -> Rotation:
    """The rotation in stage REVERTING; CURRENT's credential is the one to end later."""
    current = workspace.hub.read(path)
    if current is None or current.version != rotation.version:
        problem = f"CURRENT is no longer version {rotation.version}, which rotation {rotation.token} made"
        raise Superseded("take back", path, problem, "It was written in the meantime: nothing is restored")
    ends = dict(workspace.open_strategy(path).credential_id(current.fields))
    number = record.next_sequence()
    return rotation.to(Stage.REVERTING, note=why, holder=workspace.holder, ends=ends, sequence=number)


def previous(workspace: Workspace, path: str, record: Record, rotation: Rotation) -> HubSecret:
    """The version that served before. Raises NotFound where the hub keeps none, or it was revoked."""
    version = 0 if record.dead(rotation.base_version) else rotation.base_version
    if secret := workspace.hub.read(path, version) if version else None:
        return secret
    problem = f"the hub keeps no version before {rotation.version} that could be put back"
    raise NotFound("take back", path, problem, "Fix the consumers, or write a working credential into the hub")


def put_back(workspace: Workspace, path: str, record: Record, before: HubSecret) -> tuple[Record, HubSecret]:
    """Compare-and-set the old fields onto CURRENT, after the target accepts the old credential again.

    The returned record has a greater number where the target refused its own.
    """
    numbered = record

    def old_fields(current: HubSecret | None) -> HubSecret | None:
        nonlocal numbered
        rotation = numbered.rotation
        if current is None or rotation is None:
            return None
        strategy, promoted = workspace.open_strategy(path), workspace.hub.read(path, rotation.version)
        wanted = restored(strategy, before.fields, promoted.fields if promoted else SecretFields({}), current.fields)
        if current.fields == wanted:
            return None
        _insist_on_holding(workspace, path, rotation)
        numbered = put_back_at_target(
            workspace, path, numbered, Change(path, rotation.sequence, current.fields, before.fields)
        )
        return HubSecret(path, current.version, wanted)

    current, written = change_entry(current_entry(workspace, path), old_fields, workspace.pause)
    return numbered, written or current or before


def put_back_at_target(workspace: Workspace, path: str, record: Record, change: Change) -> Record:
    """Make the target accept the old credential; the record, with a greater number where its own was refused."""
    try:
        roll_back(workspace.open_strategy(path), change)
    except Superseded:
        higher = renumbered(workspace, path, record)
        if higher.version == record.version or higher.rotation is None:
            raise
        _insist_on_holding(workspace, path, higher.rotation)
        roll_back(workspace.open_strategy(path), replace(change, sequence=higher.rotation.sequence))
        return higher
    return record


def roll_back(strategy: Strategy, change: Change) -> None:
    """Make the old credential work again for good; overlapping credentials already do."""
    if rolls_back := capability(strategy, RollsBack):
        rolls_back.rollback(change)
    elif not strategy.overlaps:
        strategy.abandon(change)


def _insist_on_holding(workspace: Workspace, path: str, rotation: Rotation) -> None:
    """Read the record after CURRENT: a revocation takes it before CURRENT changes. Raises Superseded."""
    newest = load_record(workspace, path).rotation
    if newest is None or newest.token != rotation.token:
        closed(path, rotation.token)


def restored(strategy: Strategy, before: SecretFields, promoted: SecretFields, current: SecretFields) -> SecretFields:
    """The old fields, with fields that others added since; the candidate's own fields are dropped."""
    added = {name: value for name, value in current.reveal().items() if name not in promoted}
    adjusts = capability(strategy, AdjustsFields)
    return SecretFields(added).merged(before).merged(adjusts.rollback_fields(before, promoted) if adjusts else {})


def close_reverted(workspace: Workspace, path: str, record: Record, restored: HubSecret) -> Rotation:
    """The rolled-back rotation, which waits for the end of its own credential."""
    rotation = record.rotation
    if rotation is None:
        return closed(path, "")
    reverted = replace(
        rotation.to(Stage.REVERTED),
        version=restored.version,
        reverted_version=rotation.version,
        fingerprint=workspace.fingerprint(restored.path, restored.fields),
        promoted_at=workspace.clock(),
        **counted_from_now(workspace, path),
        acknowledged=(),
    )
    try:
        save(workspace, path, record, reverted)
    except Conflict:
        return load_record(workspace, path).retiring or closed(path, rotation.token)
    return reverted


def closed(path: str, token: str) -> Rotation:
    """Raises Superseded: another run has rolled the rotation back and ended it."""
    raise Superseded("take back", path, f"rotation {token} is over", "Nothing is lost: see `keyturn history`")
