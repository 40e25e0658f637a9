"""Whom the hub takes a login for: what it tells of the token, and the name of its entity where the login may see it.

Source: "Lookup a token (self)" and "Read entity by ID" in the API of Vault and of OpenBao. The policy ``default`` lets
every token read both of its own.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import Identity
from keyturn.providers.vault.client import Calls

MADE: Final = "auth/token/"
"""Below it tokens are made by whoever may, who chooses their metadata, so that names nobody."""

ROLES: Final = ("role_name", "username", "role")
"""What AppRole, userpass, and JWT or Kubernetes call whom they log in."""


def identify(calls: Calls) -> Identity:
    """Whom the hub takes the login in use for. Raises Denied where its policies lack auth/token/lookup-self."""
    identity = identity_of(calls.get("ask for", "the login", "auth/token/lookup-self").json()["data"])
    return replace(identity, entity_name=entity_name(calls, identity.entity_id)) if identity.entity_id else identity


def identity_of(token: Mapping[str, Any]) -> Identity:
    """What the hub tells of a token itself, without the name of its entity."""
    path = str(token["path"] or "")
    return Identity(
        str(token.get("display_name") or ""),
        str(token.get("entity_id") or ""),
        str(token["accessor"] or ""),
        path,
        "" if path.startswith(MADE) else role_of(token.get("meta") or {}),
        namespace=str(token.get("namespace_path") or ""),
    )


def role_of(metadata: Mapping[str, Any]) -> str:
    """The role or user that a login method names in a token's metadata; empty where it names none."""
    return next((str(metadata[name]) for name in ROLES if metadata.get(name)), "")


def entity_name(calls: Calls, entity: str) -> str:
    """What people call the entity; empty where this login may not see it, or the hub alone has named it."""
    with suppress(KeyturnError):
        answer = calls.find("read", "the login's entity", f"identity/entity/id/{entity}")
        name = str(answer.json()["data"]["name"]) if answer is not None else ""
        return "" if name.startswith("entity_") else name
    return ""
