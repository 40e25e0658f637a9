"""What access for a while needs of the hub. Source: "Tokens" and "Identity: entity" in the API of Vault and OpenBao."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keyturn.core.grants import LoginFacts
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.identity import MADE


@reads_answers("the hub")
class VaultGrants:
    """A :class:`keyturn.core.grants.GrantsPort`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def own_login(self) -> LoginFacts:
        """Of the login in use. Raises Denied where its policies lack auth/token/lookup-self."""
        return login_facts(self._calls.get("ask for", "the login", "auth/token/lookup-self").json()["data"])

    def groups_of(self, entity: str) -> frozenset[str]:
        """The ids of the groups of an entity; none for one that is gone."""
        answer = self._calls.find("read", "the groups of whoever asks", f"identity/entity/id/{entity}")
        if answer is None:
            return frozenset()
        about = answer.json()["data"]
        return frozenset() if about["disabled"] else frozenset(map(str, about["group_ids"] or ()))


def login_facts(token: Mapping[str, Any]) -> LoginFacts:
    """What the hub tells of a token. Whoever makes one of another token chooses its metadata, and it is younger."""
    path = str(token["path"] or "")
    entity, networks = str(token.get("entity_id") or ""), networks_of(token)
    if path.startswith(MADE) or not path.startswith("auth/"):
        return LoginFacts(path, entity, None, networks)
    made_at = datetime.fromtimestamp(int(token["creation_time"]), UTC)
    metadata = {str(name): str(value) for name, value in (token.get("meta") or {}).items()}
    return LoginFacts(path, entity, made_at, networks, metadata)


def networks_of(token: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses that it is bound to. Raises ValueError for what is no list of texts."""
    networks = token.get("bound_cidrs") or ()
    if not isinstance(networks, list | tuple) or not all(isinstance(network, str) for network in networks):
        raise ValueError("bound_cidrs")
    return tuple(networks)
