"""The whole protocol in one call, for a fleet's task and for runs without a Prefect server."""

from functools import partial

from keyturn.core.ports.conductor import conduct
from keyturn.core.rotation_record import Rotation
from keyturn.core.schedule.due import Trigger
from keyturn.rotation import protocol
from keyturn.rotation.decide import Decision
from keyturn.rotation.outcome import Outcome
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import record_action, written_together
from keyturn.rotation.strategy_verbs import Work


def rotate(
    workspace: Workspace,
    path: str,
    trigger: Trigger = Trigger.SCHEDULE,
    *,
    end_previous: bool = False,
    ground: int | None = None,
    change_account: bool = False,
) -> Outcome:
    """Replace one secret. Safe to repeat: every step first checks whether it is done.

    Raises TerminalError while an earlier credential can't be retired; ``end_previous`` ends it now, even if used.
    Raises Missing where CURRENT existed and can't be read: then a person names the ``ground``, the version with the
    fields to use. ``change_account`` allows a change from an account that the catalogue no longer names. The ledger is
    written before the first step, and with the results.
    """
    announce = partial(record_action, workspace, "rotate", path, announcing=protocol.ANNOUNCED)
    rotation = protocol.rotate(
        workspace.catalogue,
        path,
        trigger,
        end_previous=end_previous,
        ground=ground,
        change_account=change_account,
        announce=lambda note: announce(note=note),
    )
    with written_together(workspace):
        return conduct(rotation, Work(workspace, path, whole=True).take_named, side_by_side)


def restore_previous(workspace: Workspace, path: str, why: str) -> Outcome:
    """Restore the value before the last rotation, push it to every copy, and notify the consumers.

    ``why`` is saved and reported. Safe to repeat. The replaced credential works for the grace period and is then
    ended; the schedule waits as long before its next try. Raises like :func:`keyturn.rotation.rollback.revertible`.
    """
    return conduct(
        protocol.restore_previous(workspace.catalogue, path, why), Work(workspace, path).take_named, side_by_side
    )


def candidate_in_force(workspace: Workspace, path: str, decision: Decision) -> Rotation:
    """Promote one candidate. Raises CandidateRejected once it is abandoned."""
    return conduct(protocol.candidate_in_force(decision), Work(workspace, path, whole=True).take)
