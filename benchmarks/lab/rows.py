"""What stands in the log of a login and of reads."""

from typing import Final, TypeAlias

from benchmarks.lab import rights
from benchmarks.lab.world import HUB, Details, Principal, Row, Secret
from keyturn.core.ports.access import LOGIN

Burst: TypeAlias = tuple[float, list[Row]]
"""When to be woken next, and what happened now; the rows need no order."""

PATHS: Final = {"oidc": "auth/oidc/oidc/callback", "ldap": "auth/ldap/login/{}"}
"""Where one logs in: by the browser, whose last step is that callback, or with a name; else at the method's login."""


def login_path(method: str, name: str) -> str:
    """As the hub logs it."""
    return PATHS.get(method, f"auth/{method}/login").format(name)


def login_row(principal: Principal, at: float, source: str, login: str = "", *, failed: bool = False) -> Row:
    """A login; one that failed shows no more than an address."""
    details: Details = (
        HUB,
        login_path(principal.method, principal.short),
        None,
        f"failed login from {source}" if failed else principal.name,
        source,
        failed,
        "" if failed else login or principal.login,
        LOGIN,
        principal.agent,
        False,
        "" if failed else rights.held(principal),
    )
    return at, details, ""


def reads(
    principal: Principal, at: float, secrets: list[Secret], source: str, login: str = "", pace: float = 0.05
) -> list[Row]:
    """Reads of these one after the other, some ``pace`` seconds apart."""
    wait = principal.draw.random
    rows: list[Row] = []
    for secret in secrets:
        rows.append((at, principal.details(secret, source, login), ""))
        at += 0.01 + pace * wait()
    return rows
