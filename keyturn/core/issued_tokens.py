"""Tokens that Keyturn creates to request engines' credentials: records and rights.

A credential ends with its token. A token is ended by its lease below its token role: policies can name that role and so
exclude other tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.rights.rights import HubRule, allow

LEASE_TOKENS: Final = "lease-tokens"
"""State folder of lease role tokens, below their secret's path."""
GRANT_TOKENS: Final = "grant-tokens"
"""State folder of grant role tokens, below their grant's path."""
CREATE: Final = "auth/token/create"
LONGEST_TOKEN: Final = timedelta(days=32)
"""Default maximum life of a token. Source: `max_lease_ttl` in the documentation of OpenBao."""


@dataclass(frozen=True)
class IssuedToken:
    """A live token of one of the roles, by lease; ``accessor`` is empty if unrecorded."""

    lease_id: str
    issued_at: datetime
    accessor: str = ""


def lease_place(role: str) -> str:
    """The lease prefix of a role's tokens."""
    return f"{CREATE}/{role}/"


def rules_to_issue(state: str, role: str, folder: str, *limits: str) -> Iterator[HubRule]:
    """Rules to create such a token with these parameters and record it before use."""
    yield allow(f"{CREATE}/{role}", "create", "update", meta=(), **dict.fromkeys(limits, ()))
    yield allow(f"{state}/data/{folder}/*", "create", "read")
    yield from rules_to_end(state, role, folder)


def rules_to_end(state: str, role: str, folder: str) -> Iterator[HubRule]:
    """Rules to find the role's tokens, recorded or not, and end them.

    The body may have no ``lease_id``, which would take precedence over the path.
    """
    yield from rules_to_see(state, role, folder)
    yield allow(f"sys/leases/revoke/{lease_place(role)}*", "update", sync=())
    yield allow(f"{state}/metadata/{folder}/*", "delete")


def rules_to_see(state: str, role: str, folder: str) -> Iterator[HubRule]:
    """Rules to list the role's tokens by lease, and those recorded."""
    place = lease_place(role)
    yield allow(f"auth/token/roles/{role}", "read")
    yield allow(f"sys/leases/lookup/{place}", "list", "sudo")
    yield allow("sys/leases/lookup", "update", lease_id=(f"{place}*",))
    yield allow(f"{state}/data/{folder}/*", "read")
    yield allow(f"{state}/metadata/{folder}/*", "list")


def rules_to_use() -> Iterator[HubRule]:
    """Additional rights of such a token: read when its lease began, and end itself."""
    yield allow("auth/token/lookup-self", "read")
    yield allow("auth/token/revoke-self", "update")
