"""Leases of the hub's engines: take, renew, list and revoke them.

Source: "/sys/leases" in the API of Vault and of OpenBao. Listing needs ``list`` and ``sudo`` on sys/leases/lookup.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.ports.engines import IssuedLease
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.login import LoginLife

LONGEST: Final = 10 * 366 * 86_400.0
LOGINS: Final = ("auth", "sys")

PART: Final = re.compile(r"[A-Za-z0-9_.@=+:~-]+")


def lease_prefix(text: str) -> str:
    """The prefix for listing leases, without slashes around it.

    Raises Invalid unless it is below an engine's mount: revoking below ``auth/`` would log everyone out.
    """
    parts = [part for part in text.strip().split("/") if part]
    if not parts:
        raise _no_prefix(
            text, "it names no engine", "Name an engine's mount at least, such as database/creds/ml-reader"
        )
    if any(not PART.fullmatch(part) or set(part) == {"."} for part in parts):
        raise _no_prefix(
            text, "it is not a path of the hub as written", "Write it out, without dots, escapes and blanks"
        )
    if is_login(parts[0]):
        raise _no_login("find leases below", text)
    return "/".join(parts)


def is_login(lease: str) -> bool:
    return lease.strip().lstrip("/").partition("/")[0].lower() in LOGINS


def _no_login(doing: str, text: str) -> Invalid:
    hint = "Such leases are logins and the hub's own: end one with the hub's own command"
    return Invalid(doing, repr(text[:100]), f"it is below {text.strip().lstrip('/').partition('/')[0]}/", hint)


def _no_prefix(text: str, problem: str, hint: str) -> Invalid:
    return Invalid("find leases below", repr(text[:100]), problem, hint)


def leases_below(calls: Calls, prefix: str) -> list[str]:
    """Includes folders. Raises Invalid."""
    folders, lease_ids = [f"{lease_prefix(prefix)}/"], list[str]()
    while folders:
        folder = folders.pop()
        for name in calls.list(folder, f"sys/leases/lookup/{folder}"):
            (folders if name.endswith("/") else lease_ids).append(folder + name)
    return sorted(lease_ids)


def issue_lease(calls: Calls, path: str) -> IssuedLease:
    """Raises Invalid if the answer has no lease."""
    where = lease_prefix(path)
    calls.prolong_login()
    answer = calls.get("take a lease of", where, where).json()
    if not answer["lease_id"]:
        hint = "Name the path that an engine makes credentials at, such as database/creds/ml-reader"
        raise Invalid("take a lease of", where, "what is read there has none", hint)
    login = calls.login_life
    ttl = _ttl(answer, login)
    return IssuedLease(answer["lease_id"], SecretFields(answer["data"]), ttl, bool(answer["renewable"]), login)


def renew_lease(calls: Calls, lease: IssuedLease, ttl: timedelta) -> IssuedLease:
    """It still ends with the login that requested it."""
    calls.prolong_login()
    body = {"lease_id": lease.lease_id, "increment": round(ttl.total_seconds())}
    answer = calls.post("renew", lease.lease_id, "sys/leases/renew", body).json()
    asker = lease.asker if isinstance(lease.asker, LoginLife) else LoginLife()
    return replace(lease, ttl=_ttl(answer, asker), renewable=bool(answer["renewable"]))


def _ttl(answer: Mapping[str, Any], login: LoginLife) -> timedelta:
    return timedelta(seconds=max(0.0, min(float(answer["lease_duration"]), login.left, LONGEST)))


def revoke_lease(calls: Calls, lease_id: str) -> None:
    """Raises Unavailable if the engine fails to end the credential, and Invalid for a login."""
    if is_login(lease_id):
        raise _no_login("revoke", lease_id)
    try:
        calls.post("revoke", lease_id, "sys/leases/revoke", {"lease_id": lease_id, "sync": True})
    except NotFound:
        return
    except Invalid:
        # The hub answers this for every failure at the target.
        hint = "See the hub's log: the target must answer, and the role's revocation_statements must work"
        raise Unavailable("revoke", lease_id, "the engine could not end what it gave", hint) from None
