"""The catalogue's certificate authorities: their status and renewal, as tasks."""

from keyturn.core.own_keys import KeyTurn
from keyturn.keys import authority_status
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("look at authorities")
def due_authorities(name: str | None, forced: bool) -> list[str]:
    """The authorities that need a change or a report. Raises NotFound."""
    return authority_status.due_authorities(current_workspace(), name, forced=forced)


@task("renew authority")
def renew_authority(name: str, forced: bool) -> KeyTurn:
    """Apply an authority's declaration."""
    turn = authority_status.renew_authority(current_workspace(), name)
    tell(f"{turn.name}: {turn.did}")
    return turn
