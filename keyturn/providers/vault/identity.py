"""The identity of a login.

Source: "Lookup a token (self)" and "Read entity by ID" in the API of Vault and of OpenBao.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import Identity
from keyturn.providers.vault.client import Calls

MADE: Final = "auth/token/"
"""Tokens made by other tokens, whose metadata proves no name."""

ROLES: Final = ("role_name", "username", "role")


def identify(calls: Calls) -> Identity:
    """Raises Denied if the login's policies lack auth/token/lookup-self."""
    identity = identity_of(calls.look_up_login().json()["data"])
    return replace(identity, entity_name=entity_name(calls, identity.entity_id)) if identity.entity_id else identity


def identity_of(token: Mapping[str, Any]) -> Identity:
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
    return next((str(metadata[name]) for name in ROLES if metadata.get(name)), "")


def entity_name(calls: Calls, entity: str) -> str:
    with suppress(KeyturnError):
        answer = calls.find("read", "the login's entity", f"identity/entity/id/{entity}")
        name = str(answer.json()["data"]["name"]) if answer is not None else ""
        return "" if name.startswith("entity_") else name
    return ""
