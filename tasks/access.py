"""Granting temporary access, as a task."""

from keyturn.grants.rounds import AccessRound, make_round
from tasks.step import task
from tasks.workspace import current_workspace


@task("give access")
def give_access(request: str | None) -> AccessRound:
    """Do one round over all requests, or the named one. Raises NotFound."""
    return make_round(current_workspace(), only=request or "")
