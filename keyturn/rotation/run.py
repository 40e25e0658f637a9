"""The whole protocol in one call: what a fleet's task runs, and what runs without a Prefect server."""

from functools import partial

from keyturn.core.ports.conductor import conduct
from keyturn.core.record import Rotation
from keyturn.core.schedule.policy import Trigger
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
    """Replace one secret. Safe to run again: every step first asks whether it is done.

    The credential before the last rotation, where it is not retired yet, holds it back while anything speaks against
    its end; with ``end_previous`` it ends now, whoever uses it. Raises TerminalError, naming what holds it.

    Where CURRENT was there and can't be read, Missing is raised; a person names the version whose fields are the
    ``ground`` of the next one. With ``change_account`` it moves away from an account that the catalogue names no more,
    which is retired like any other.
    The ledger is written twice: that it begins and with which steps, before the first of them, and what became of each.
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
    """Put the value before the last rotation in force again, push it to every copy, and tell the consumers.

    ``why`` is kept and told. Safe to run again. What that rotation had put in force goes on working for the grace, and
    is ended then; the schedule waits as long before it tries again. Raises what
    :func:`keyturn.rotation.rollback.revertible` does.
    """
    return conduct(
        protocol.restore_previous(workspace.catalogue, path, why), Work(workspace, path).take_named, side_by_side
    )


def candidate_in_force(workspace: Workspace, path: str, decision: Decision) -> Rotation:
    """One candidate's way to its promotion. Raises CandidateRejected, when it has been given up."""
    return conduct(protocol.candidate_in_force(decision), Work(workspace, path, whole=True).take)
