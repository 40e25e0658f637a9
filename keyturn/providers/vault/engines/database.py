"""The hub's database engine: leases and static roles."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import requests

from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.ports.engines import Lease, LeaseStanding, StaticRole, Terms
from keyturn.core.sensitive import SecretFields
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.engines.issued_tokens import IssuedTokens, lasting
from keyturn.providers.vault.engines.leases import revoke_lease


@reads_answers("the hub")
class VaultDatabase:
    """A :class:`keyturn.core.ports.engines.DatabaseEngine` at ``mount``.

    A lease ends with the token that requested it. So orphan ``tokens`` of a token role request them, or with
    ``own_token`` the worker's own login.
    """

    def __init__(self, calls: Calls, mount: str, tokens: IssuedTokens, *, own_token: bool) -> None:
        self.mount = mount
        self._calls = calls
        self._tokens = tokens
        self._own_token = own_token

    def terms(self, role: str) -> Terms:
        name = f"{self.mount}/roles/{role}"
        settings = answer_data(self._calls.get("read", name, name))
        tune = f"sys/mounts/{self.mount}/tune"
        mount = answer_data(self._calls.get("read", tune, tune))
        longest = min(settings["max_ttl"] or mount["max_lease_ttl"], mount["max_lease_ttl"])
        default = min(settings["default_ttl"] or mount["default_lease_ttl"], longest)
        return Terms(timedelta(seconds=default), timedelta(seconds=longest))

    def issue(self, role: str, owner: str = "") -> Lease:
        """A new account. If that fails, its token is ended."""
        terms = self.terms(role)
        if self._own_token:
            own = answer_data(self._calls.get("look up", "the hub's login", "auth/token/lookup-self"))
            return self._issue(role, terms, None, lasting(own["ttl"]), "")
        token = self._tokens.make(owner)
        try:
            return self._issue(role, terms, token.token, token.life, token.accessor)
        except KeyturnError:
            self._tokens.give_back(owner, token)
            raise

    def _issue(self, role: str, terms: Terms, token: str | None, life: timedelta | None, accessor: str) -> Lease:
        name = f"{self.mount}/creds/{role}"
        issued = self._calls.get("issue", name, name, token=token).json()
        limit = life or terms.longest
        granted = Terms(min(timedelta(seconds=issued["lease_duration"]), limit), min(terms.longest, limit))
        return Lease(issued["lease_id"], SecretFields(issued["data"]), granted, accessor)

    def leases(self, role: str) -> list[str]:
        prefix = f"{self.mount}/creds/{role}/"
        return [prefix + key for key in self._calls.list(prefix, f"sys/leases/lookup/{prefix}")]

    def lease(self, lease_id: str) -> LeaseStanding | None:
        try:
            lease = answer_data(self._calls.post("look up", lease_id, "sys/leases/lookup", {"lease_id": lease_id}))
        except NotFound:
            return None
        since = lease["last_renewal"] or lease["issue_time"]
        granted = datetime.fromisoformat(lease["expire_time"]) - datetime.fromisoformat(since)
        return LeaseStanding(timedelta(seconds=lease["ttl"]), timedelta(seconds=round(granted.total_seconds())))

    def renew(self, lease_id: str) -> None:
        self._calls.post("renew", lease_id, "sys/leases/renew", {"lease_id": lease_id})

    def revoke(self, lease_id: str) -> None:
        revoke_lease(self._calls, lease_id)

    def static_role(self, role: str) -> StaticRole | None:
        name = f"{self.mount}/static-roles/{role}"
        if (settings := self._calls.data("read", name, name)) is None:
            return None
        # Only Vault has roles that rotate on a schedule.
        period = None if settings.get("rotation_schedule") else timedelta(seconds=settings["rotation_period"])
        return StaticRole(settings["username"], period)

    def static_credential(self, role: str) -> SecretFields:
        name = f"{self.mount}/static-creds/{role}"
        credential = answer_data(self._calls.get("read", name, name))
        return SecretFields({"username": credential["username"], "password": credential["password"]})

    def rotate_static(self, role: str) -> None:
        name = f"{self.mount}/rotate-role/{role}"
        self._calls.post("rotate", name, name, {})

    def tokens(self, owner: str) -> list[str]:
        return self._tokens.of(owner)

    def end_token(self, owner: str, accessor: str) -> None:
        self._tokens.end(owner, accessor)


def answer_data(answer: requests.Response) -> Mapping[str, Any]:
    members: Mapping[str, Any] = answer.json()["data"]
    return members
