"""Keyturn's own keys: where each stands, and its next step, as tasks."""

from datetime import datetime

from keyturn.core.errors import KeyturnError
from keyturn.core.own_keys import KeyTurn
from keyturn.keys import own_keys
from keyturn.keys.own_login import turn_own_login
from keyturn.rotation import lease_tokens
from keyturn.rotation.repair import record_upkeep
from tasks.step import task, tell
from tasks.workspace import current_workspace


@task("look at own keys")
def due_keys(name: str | None, forced: bool) -> list[str]:
    """The names of those whose next step is due, or of all that are asked for. Raises NotFound."""
    return own_keys.due_keys(current_workspace(), name, forced=forced)


@task("turn own key")
def turn_own_key(name: str, forced: bool) -> KeyTurn:
    """The next step of one."""
    turn = own_keys.turn_own_key(current_workspace(), name, forced=forced)
    tell(f"{turn.name}: {turn.did}")
    return turn


@task("look for lease tokens")
def may_leave_tokens(since: datetime) -> bool:
    """Whether a run that asked for leases may have died since then: one was begun."""
    return lease_tokens.may_be_left(current_workspace(), since)


@task("end left tokens", retries=0)
def end_left_tokens() -> dict[str, list[str] | KeyturnError]:
    """End tokens, and their leases, of runs that are no more: the accessors, by secret. Raises Denied."""
    return lease_tokens.end_left_tokens(current_workspace())


@task("turn own login", retries=0)
def turn_login() -> KeyTurn | None:
    """The next step of the secret id that this process logs in with; None where it logs in otherwise."""
    return turn_own_login(current_workspace())


@task("remove leftover candidates", retries=0)
def remove_leftover_candidates() -> list[str]:
    """Remove candidates of runs that are no more: the secrets that had one. Raises Denied."""
    return record_upkeep.remove_leftovers(current_workspace())
