"""The workers' sign of life: each round of the keeper leaves one in the hub, where any machine can read it."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from keyturn.core.errors import Conflict
from keyturn.core.rights.hub_setup import HUB_CHECKS
from keyturn.rotation.state.context import Workspace

HEARTBEAT: Final = f"{HUB_CHECKS}/keeper"

ROUND: Final = timedelta(minutes=15)
"""Between two runs of the keeper, as `prefect.yaml` has it."""


def leave_heartbeat(workspace: Workspace) -> None:
    """Write it over the last one; of two rounds at the same moment, one leaves it."""
    state = workspace.hub.read_state(HEARTBEAT)
    with suppress(Conflict):
        workspace.hub.write_state(HEARTBEAT, {"by": workspace.holder}, cas=state.version if state else 0)


def last_heartbeat(workspace: Workspace) -> timedelta | None:
    """How old the last one is, by the hub's clock; None where the keeper never ran. Raises what the hub raises."""
    state = workspace.hub.read_state(HEARTBEAT)
    return timedelta(seconds=state.age) if state else None
