"""The catalogue's managed keys: their status and next steps, as tasks."""

from keyturn.core.own_keys import KeyTurn
from keyturn.keys import managed_keys
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("look at managed keys")
def due_keys(name: str | None, forced: bool) -> list[str]:
    """The keys that need a change or a report. Raises NotFound."""
    return managed_keys.due_keys(current_workspace(), name, forced=forced)


@task("rotate managed key")
def rotate_key(name: str, forced: bool) -> KeyTurn:
    """Do the next steps of a key."""
    turn = managed_keys.rotate_key(current_workspace(), name, forced=forced)
    tell(f"{turn.name}: {turn.did}")
    return turn
