"""The workers' heartbeat: each keeper run saves one in the hub, readable from any machine."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from keyturn.core.errors import Conflict
from keyturn.core.rights.hub_setup import HUB_CHECKS
from keyturn.rotation.state.context import Workspace

HEARTBEAT: Final = f"{HUB_CHECKS}/keeper"

ROUND: Final = timedelta(minutes=15)
"""Time between two keeper runs, as in `prefect.yaml`."""


def leave_heartbeat(workspace: Workspace) -> None:
    """Overwrite the last heartbeat; of two simultaneous runs, one writes it."""
    state = workspace.hub.read_state(HEARTBEAT)
    with suppress(Conflict):
        workspace.hub.write_state(HEARTBEAT, {"by": workspace.holder}, cas=state.version if state else 0)


def last_heartbeat(workspace: Workspace) -> timedelta | None:
    """Its age by the hub's clock; None where the keeper never ran. Raises the hub's errors."""
    state = workspace.hub.read_state(HEARTBEAT)
    return timedelta(seconds=state.age) if state else None
