"""What a new rotation does with the last one's credential: retire it on evidence, or stop."""

from keyturn.core.errors import PreviousUnended
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.preconditions import describe_move
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.retire import retire
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record


def make_way(
    workspace: Workspace, path: str, trigger: Trigger, token: str | None = None, *, end_previous: bool = False
) -> Retirement:
    """Retire the last rotation's credential on evidence; a suspicion, or ``end_previous``, ends it even if used.

    Raises PreviousUnended, naming what holds it.
    """
    waive = Waive.EVERYTHING if end_previous or trigger is Trigger.COMPROMISE else Waive.NOTHING
    if trigger is Trigger.FORCE and ends_nothing(workspace, path):
        waive = Waive.EVERYTHING
    retirement = retire(workspace, path, waive, token, by_hand=end_previous)
    if retirement.held_by:
        names = f" ({retirement.names})" if retirement.names else ""
        held_by = "; ".join(retirement.held_by)
        problem = f"the credential before version {retirement.version}{names} is not retired: {held_by}"
        early, at_once = f"keyturn retire {path} --early", f"keyturn rotate {path} --now --end-previous"
        hint = (
            f"Nothing was changed. Wait until nothing holds it, skip its grace: `{early}`, or end it now: `{at_once}`"
        )
        raise PreviousUnended("rotate", path, problem, hint)
    return retirement


def ends_nothing(workspace: Workspace, path: str) -> bool:
    """Whether its end affects no user: no target knows the credential, or the catalogue names another target."""
    rotation = load_record(workspace, path).retiring
    return rotation is not None and (not rotation.ends or bool(describe_move(workspace, path, rotation)))
