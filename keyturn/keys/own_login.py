"""Replacing the secret id that Keyturn logs in with, before the one in use ends.

The new one is tried before it is written, and the old one works on until the next look: processes that have read it a
moment ago log in with it still. Another one is ended only where the hub says that it was made for this place alone.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from keyturn.core.errors import Denied, KeyturnError, NotFound
from keyturn.core.own_keys import KeyState, KeyTurn, OwnKey
from keyturn.core.ports.hub import Right
from keyturn.core.ports.own_login import ROLES, OwnLogin, SecretId, own_roles, role_principals
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

SETTLE: Final = timedelta(minutes=10)
"""How long the old one works on: a login with it, once begun, is over by then."""
ACTION: Final = "turn secret id"


def own_principals(workspace: Workspace) -> frozenset[str]:
    """What the hub's audit log calls Keyturn's logins: this one, and those of its roles by their names in the guide."""
    principals = role_principals(os.environ)
    with suppress(KeyturnError):
        return principals | {workspace.hub.identity().name}
    return principals


def key_name(role: str) -> str:
    """What a role's secret id is called among Keyturn's own keys."""
    return f"secret-id/{role}"


def own_login_keys(workspace: Workspace) -> list[OwnKey]:
    """The secret id that is logged in with, and those of Keyturn's other logins as far as this one may see them.

    None where the login is no AppRole's. What hinders a look is part of the answer.
    """
    try:
        login = workspace.hub.own_login()
    except KeyturnError:
        return []
    if login is None:
        return []
    roles = dict.fromkeys((*own_roles(os.environ), *ROLES))
    others = (other_login(workspace, login, role) for role in roles if role != login.role)
    return [own_login_key(workspace, login), *(key for key in others if key)]


def own_login_key(workspace: Workspace, login: OwnLogin) -> OwnKey:
    """Where the secret id that is logged in with stands."""
    name, what = key_name(login.role), "logs this process in to the hub"
    try:
        if blocked := _cannot(workspace, login):
            return OwnKey(name, what, KeyState.BY_HAND, blocked=blocked)
        current, blocked = login.in_use(), login.hindrance()
        listed = login.of_role(login.role)
    except KeyturnError as error:
        return OwnKey(name, what, KeyState.UNKNOWN, blocked=str(error))
    if leftovers(current, listed):
        return OwnKey(name, what, KeyState.TURNING, current.made_at, current.made_at + SETTLE, blocked)
    due_at = current.due_at(workspace.own_keys.secret_ids)
    blocked = blocked or unclaimed(login.role, current, listed)
    return OwnKey(name, what, KeyState.IN_USE, current.made_at, due_at, blocked)


def other_login(workspace: Workspace, login: OwnLogin, role: str) -> OwnKey | None:
    """The newest secret id of another of Keyturn's logins; None where there is none, or this login may not look."""
    try:
        listed = login.of_role(role)
    except (Denied, NotFound):
        return None
    except KeyturnError as error:
        return OwnKey(key_name(role), "logs in to the hub", KeyState.UNKNOWN, blocked=str(error))
    if not listed:
        return None
    newest = listed[0]
    due_at = newest.due_at(workspace.own_keys.secret_ids)
    blocked = unclaimed(role, newest, listed)
    return OwnKey(key_name(role), "logs in to the hub", KeyState.IN_USE, newest.made_at, due_at, blocked)


def turn_own_login(workspace: Workspace, *, forced: bool = False) -> KeyTurn | None:
    """The next step of the secret id that is logged in with: safe to run again, and None where there is none.

    Raises what hinders a look, and Unrecorded before anything is changed.
    """
    login = workspace.hub.own_login()
    if login is None:
        return None
    name = key_name(login.role)
    if cannot := _cannot(workspace, login):
        return KeyTurn(name, cannot, blocked=True)
    with login.alone():
        current, now = login.in_use(), workspace.hub_now()
        old = leftovers(current, login.of_role(login.role))
        if old and now < current.made_at + SETTLE:
            settled = current.made_at + SETTLE
            return KeyTurn(name, f"the one before works on until {settled:%Y-%m-%d %H:%M} UTC", next_at=settled)
        ended = _end(workspace, login, old)
        if not forced and now < (due_at := current.due_at(workspace.own_keys.secret_ids)):
            return KeyTurn(name, ended or "in use", changed=bool(ended), next_at=due_at)
        if hindrance := login.hindrance():
            return KeyTurn(name, hindrance, blocked=True)
        did = "a new one was made, tried and written to its file"
        with record_action(workspace, ACTION, place=name, note=did):
            login.replace(current)
    return KeyTurn(name, did, changed=True, next_at=now + SETTLE)


def leftovers(current: SecretId, listed: Iterable[SecretId]) -> list[SecretId]:
    """Those that were made for the same place and serve nobody any more: what ``current`` has replaced, and what a run
    has left that died before it was written. One that nobody has claimed for a place may be anybody's."""
    return [
        other
        for other in listed
        if other.accessor != current.accessor
        and other.place
        and (other.accessor == current.replaces or (other.place == current.place and current.replaces))
    ]


def unclaimed(role: str, current: SecretId, listed: Iterable[SecretId]) -> str:
    """Which others work of which nobody has said whose they are, and what to do; empty where there are none."""
    accessors = [other.accessor for other in listed if not other.place and other.accessor != current.accessor]
    if not accessors:
        return ""
    path = f"auth/approle/role/{role}/secret-id-accessor/destroy"
    remedy = f"see whether anybody uses it, and end it: vault write {path} secret_id_accessor={accessors[0]}"
    others = "another works" if len(accessors) == 1 else f"{len(accessors)} others work"
    return f"{others} that Keyturn has not made: {remedy}"


def _end(workspace: Workspace, login: OwnLogin, old: list[SecretId]) -> str:
    if not old:
        return ""
    did = f"ended {', '.join(secret_id.accessor for secret_id in old)}, which served before"
    with record_action(workspace, ACTION, place=key_name(login.role), note=did):
        for secret_id in old:
            login.end(secret_id.accessor)
    return did


def _cannot(workspace: Workspace, login: OwnLogin) -> str:
    """Why this login can't do it at all, and the remedy; empty where it can."""
    if not login.file:
        return "it lies in this process's memory alone: name a file for it in KEYTURN_HUB_SECRET_ID_FILE"
    missing = workspace.hub.missing_capabilities([Right(*right) for right in login.rights()])
    if missing:
        policy = f"{login.role}-login.hcl, as `keyturn policy render` writes it"
        return f"this login may not {missing[0].capability} {missing[0].path}: give it {policy}, or replace it by hand"
    return ""
