"""The steps of giving access for a while, as tasks."""

from keyturn.grants.rounds import AccessRound, make_round
from tasks.step import task
from tasks.workspace import current_workspace


@task("give access")
def give_access(request: str | None) -> AccessRound:
    """One round over all requests, or the one that is named. Raises NotFound."""
    return make_round(current_workspace(), only=request or "")
