"""Replace the AppRole secret id of Keyturn's login before it expires.

The new one is tested before it is written. The old one stays valid for processes that have just read it. Another one is
ended only if the hub records that it was made for this place.
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
"""How long the old secret id stays valid."""
ACTION: Final = "turn secret id"


def own_principals(workspace: Workspace) -> frozenset[str]:
    """The names of Keyturn's logins in the hub's audit log."""
    principals = role_principals(os.environ)
    with suppress(KeyturnError):
        return principals | {workspace.hub.identity().name}
    return principals


def key_name(role: str) -> str:
    """The name of a role's secret id as an own key."""
    return f"secret-id/{role}"


def own_login_keys(workspace: Workspace) -> list[OwnKey]:
    """The visible secret ids of this login and of Keyturn's others.

    Empty if the login is not an AppRole.
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
    """The status of the secret id in use."""
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
    """The newest visible secret id of another of Keyturn's logins."""
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
    """Take the next step of the secret id in use, if any. Safe to run again.

    Raises Unrecorded before any change.
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
    """The replaced or abandoned secret ids of the same place.

    One without a recorded place is left out.
    """
    return [
        other
        for other in listed
        if other.accessor != current.accessor
        and other.place
        and (other.accessor == current.replaces or (other.place == current.place and current.replaces))
    ]


def unclaimed(role: str, current: SecretId, listed: Iterable[SecretId]) -> str:
    """A warning about secret ids without a recorded place."""
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
    """Why this login can't replace its secret id, or empty."""
    if not login.file:
        return "it exists only in this process's memory: name a file for it in KEYTURN_HUB_SECRET_ID_FILE"
    missing = workspace.hub.missing_capabilities([Right(*right) for right in login.rights()])
    if missing:
        policy = f"{login.role}-login.hcl, as `keyturn setup store` writes it"
        return f"this login may not {missing[0].capability} {missing[0].path}: give it {policy}, or replace it by hand"
    return ""
