"""A login's exchange with the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import hvac
import requests
from hvac import exceptions as vault

from keyturn.core.errors import Denied, LoginRefused, Unavailable

REFUSED: Final = (
    vault.InvalidRequest,
    vault.Unauthorized,
    vault.Forbidden,
    vault.InvalidPath,
    vault.UnsupportedOperation,
)
"""Each method has its own status for a refusal."""


@dataclass(frozen=True)
class TokenLife:
    """How long a token lives, in seconds; 0 for ever."""

    ttl: float
    renewable: bool
    lookup: requests.Response | None = None
    """What the hub said about the token, where the login asked."""


class LoginMethod(Protocol):
    """One way to log in, for one thread at a time; ``replaces`` if it can always make a new token."""

    replaces: bool = True

    def log_in(self, client: hvac.Client) -> TokenLife:
        """Give the client a token. Raises Denied, NotFound, Invalid, Unavailable, and the SDK's errors."""

    def has_another(self) -> bool:
        """Whether another login could give a different token."""
        return True


class Refusal(Exception):
    """The hub refused, without a reason."""


def exchange(client: hvac.Client, mount: str, body: Mapping[str, Any]) -> TokenLife:
    """Raises Refusal, and the SDK's errors."""
    try:
        answer = client.adapter.post(f"/v1/auth/{mount}/login", json=dict(body))
    except REFUSED:
        raise Refusal from None
    return take_token(client, answer)


def take_token(client: hvac.Client, answer: requests.Response) -> TokenLife:
    """Raises Denied if a second factor is wanted, Unavailable for no token."""
    try:
        auth = answer.json()["auth"]
        if auth.get("mfa_requirement"):
            hint = "Exempt this role from the hub's login MFA (sys/mfa/login-enforcement)"
            raise Denied("log in to", "the hub", "it asks for a second factor, which a program can't give", hint)
        life = TokenLife(float(auth["lease_duration"]), bool(auth["renewable"]))
        client.token = auth["client_token"]
    except (requests.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
        problem = "its answer to the login can't be understood"
        raise Unavailable("log in to", "the hub", problem, "Check that VAULT_ADDR reaches the hub itself") from None
    return life


def denied(problem: str, hint: str) -> Denied:
    return LoginRefused("log in to", "the hub", problem, hint)
