"""The authorities of the catalogue: where each stands, and its renewal, as tasks."""

from keyturn.core.own_keys import KeyTurn
from keyturn.keys import authority_status
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("look at authorities")
def due_authorities(name: str | None, forced: bool) -> list[str]:
    """The names of those of which something is to be done or told. Raises NotFound."""
    return authority_status.due_authorities(current_workspace(), name, forced=forced)


@task("renew authority")
def renew_authority(name: str, forced: bool) -> KeyTurn:
    """Bring one to what is declared."""
    turn = authority_status.renew_authority(current_workspace(), name)
    tell(f"{turn.name}: {turn.did}")
    return turn
