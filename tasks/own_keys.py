"""Keyturn's own keys: their status and next step, as tasks."""

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
    """The keys whose next step is due, or all requested. Raises NotFound."""
    return own_keys.due_keys(current_workspace(), name, forced=forced)


@task("turn own key")
def turn_own_key(name: str, forced: bool) -> KeyTurn:
    """Do the next step of a key."""
    turn = own_keys.turn_own_key(current_workspace(), name, forced=forced)
    tell(f"{turn.name}: {turn.did}")
    return turn


@task("look for lease tokens")
def may_leave_tokens(since: datetime) -> bool:
    """Whether a run that requests leases was started since then, and so may have died."""
    return lease_tokens.may_be_left(current_workspace(), since)


@task("end left tokens", retries=0)
def end_left_tokens() -> dict[str, list[str] | KeyturnError]:
    """End tokens of dead runs and their leases; the accessors by secret. Raises Denied."""
    return lease_tokens.end_left_tokens(current_workspace())


@task("turn own login", retries=0)
def turn_login() -> KeyTurn | None:
    """Do the next step of this process's secret id; None if it logs in differently."""
    return turn_own_login(current_workspace())


@task("remove leftover candidates", retries=0)
def remove_leftover_candidates() -> list[str]:
    """Remove candidates of dead runs; their secrets. Raises Denied."""
    return record_upkeep.remove_leftovers(current_workspace())
