"""Tokens that Keyturn makes to ask the hub's engines for credentials: where they are recorded, and what they need.

A credential ends with the token that asked for it. Such a token is ended by its own lease, below its token role: a
policy can name that role, and no other token is within reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.rights.rights import HubRule, allow

LEASE_TOKENS: Final = "lease-tokens"
"""Where in Keyturn's own mount the tokens of the lease token role are recorded, below their secret's path."""
GRANT_TOKENS: Final = "grant-tokens"
"""The same for the tokens of the grant token role, below the place of their grant."""
CREATE: Final = "auth/token/create"
LONGEST_TOKEN: Final = timedelta(days=32)
"""How long a token lives at most where nothing says less. Source: `max_lease_ttl` in the documentation of OpenBao."""


@dataclass(frozen=True)
class IssuedToken:
    """A living token of one of the two roles, by its lease; ``accessor`` is empty for one that nothing records."""

    lease_id: str
    issued_at: datetime
    accessor: str = ""


def lease_place(role: str) -> str:
    """The prefix of the leases of a role's tokens."""
    return f"{CREATE}/{role}/"


def rules_to_issue(state: str, role: str, folder: str, *limits: str) -> Iterator[HubRule]:
    """Making such a token with these parameters, and recording it before it is used."""
    yield allow(f"{CREATE}/{role}", "create", "update", meta=(), **dict.fromkeys(limits, ()))
    yield allow(f"{state}/data/{folder}/*", "create", "read")
    yield from rules_to_end(state, role, folder)


def rules_to_end(state: str, role: str, folder: str) -> Iterator[HubRule]:
    """Finding the tokens of the role, recorded or not, and ending them.

    A ``lease_id`` in the body would count before the one in the path, so the body may have none.
    """
    yield from rules_to_see(state, role, folder)
    yield allow(f"sys/leases/revoke/{lease_place(role)}*", "update", sync=())
    yield allow(f"{state}/metadata/{folder}/*", "delete")


def rules_to_see(state: str, role: str, folder: str) -> Iterator[HubRule]:
    """Listing the tokens of the role by their leases, and which of them are recorded."""
    place = lease_place(role)
    yield allow(f"auth/token/roles/{role}", "read")
    yield allow(f"sys/leases/lookup/{place}", "list", "sudo")
    yield allow("sys/leases/lookup", "update", lease_id=(f"{place}*",))
    yield allow(f"{state}/data/{folder}/*", "read")
    yield allow(f"{state}/metadata/{folder}/*", "list")


def rules_to_use() -> Iterator[HubRule]:
    """What such a token may do besides: see its own lease's beginning, and end itself."""
    yield allow("auth/token/lookup-self", "read")
    yield allow("auth/token/revoke-self", "update")
