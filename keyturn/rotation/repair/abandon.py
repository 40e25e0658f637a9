"""Abandon a candidate, so that no suspended worker can promote it later."""

from dataclasses import replace

from keyturn.core.compare_and_set import change_entry
from keyturn.core.ports.hub import RESTORED_AT, ROTATED_AT, HubSecret
from keyturn.core.rotation_record import Stage
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.preconditions import describe_move
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import current_entry
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.owners import another_owner
from keyturn.rotation.state.record_store import save


def abandon(
    workspace: Workspace, attempt: Attempt, why: str, *, refused: bool = False, certain: bool = False
) -> Attempt:
    """Abandon a candidate; ``refused`` by the target, and ``certain`` if it would refuse every other. CURRENT works.

    First the record stops other workers, then CURRENT gets a new version, then the target is changed, perhaps again
    after a crash. A target that the catalogue no longer names is not changed.
    """
    with record_action(workspace, "abandon", attempt.path, note=why):
        return _given_up(workspace, attempt, why, refused=refused, certain=certain)


def _given_up(workspace: Workspace, attempt: Attempt, why: str, *, refused: bool, certain: bool) -> Attempt:
    """Abandon the candidate without a ledger entry."""
    path, rotation = attempt.path, attempt.rotation
    if rotation.stage is not Stage.ABANDONING:
        # A greater number than the install's, so that the target refuses a suspended install.
        number = attempt.record.next_sequence()
        doomed = rotation.to(Stage.ABANDONING, note=why, refused=refused, certain=certain, sequence=number)
        attempt = replace(attempt, record=save(workspace, path, attempt.record, doomed, attempt.candidate))
    attempt = fence(workspace, attempt)
    if not (attempt.in_force or describe_move(workspace, path, attempt.rotation) or given_away(workspace, attempt)):
        change = replace(attempt.change(), current=attempt.serving)
        workspace.open_strategy(path).abandon(change)
    closed = attempt.rotation.to(Stage.ABANDONED, closed_at=workspace.clock())
    return replace(attempt, record=save(workspace, path, attempt.record, closed))


def given_away(workspace: Workspace, attempt: Attempt) -> str:
    """Why the candidate's account belongs to another secret now; empty where it doesn't."""
    return another_owner(
        workspace, attempt.path, workspace.open_strategy(attempt.path).credential_id(attempt.candidate)
    )


def fence(workspace: Workspace, attempt: Attempt) -> Attempt:
    """Write CURRENT again unchanged, so that a worker suspended before its promotion is refused.

    Where such a worker was faster, restores what it replaced.
    """

    def retained(current: HubSecret | None) -> HubSecret | None:
        if current is None:
            return None
        before = without(workspace, attempt, current)
        keep_age(workspace, attempt.path)
        keep_doubt(workspace, before, current.version + 1)
        return before

    _, moved = change_entry(current_entry(workspace, attempt.path), retained, workspace.pause)
    return replace(attempt, current=moved)


def without(workspace: Workspace, attempt: Attempt, current: HubSecret) -> HubSecret:
    """The newest version since the rotation began that isn't the candidate; ``current`` for none."""
    for version in range(current.version, max(attempt.rotation.base_version, 1) - 1, -1):
        stored = current if version == current.version else workspace.hub.read(attempt.path, version)
        if stored and not stored.fields.holds(attempt.candidate):
            return stored
    return current


def keep_doubt(workspace: Workspace, before: HubSecret, number: int) -> None:
    """Keep the doubt about a restored version for version ``number``, which repeats ``before``.

    Otherwise its number would prove it newer. Saved before that version is written.
    """
    mark = workspace.open_restore()
    if mark and mark.doubts(before.custom, before.version, before.created_at) and (made := before.made_at):
        workspace.hub.patch_metadata(before.path, {RESTORED_AT: f"{number} {made.isoformat()}"})


def keep_age(workspace: Workspace, path: str) -> None:
    """Save the secret's age where only its newest version has it, before that is written again."""
    info = workspace.hub.describe(path)
    if info and ROTATED_AT not in info.custom and info.rotated_at:
        workspace.hub.patch_metadata(path, {ROTATED_AT: info.rotated_at.isoformat()})
