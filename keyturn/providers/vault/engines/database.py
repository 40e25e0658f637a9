"""The hub's engines that make accounts: leases and static roles."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import requests

from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.ports.engines import (
    LEASES,
    STATIC_ROLES,
    Lease,
    LeaseShape,
    LeaseStanding,
    StaticRole,
    StaticShape,
    Terms,
)
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.engines.issued_tokens import IssuedTokens, lasting
from keyturn.providers.vault.engines.leases import revoke_lease
from keyturn.settings.durations import parse


@reads_answers("the hub")
class VaultDatabase:
    """A :class:`keyturn.core.ports.engines.DatabaseEngine` at ``mount``.

    A lease ends with the token that requested it. So orphan ``tokens`` of a token role request them, or with
    ``own_token`` the worker's own login.
    """

    def __init__(
        self,
        calls: Calls,
        mount: str,
        tokens: IssuedTokens,
        leases: LeaseShape = LEASES,
        static: StaticShape = STATIC_ROLES,
        *,
        own_token: bool,
    ) -> None:
        self.mount = mount
        self._calls = calls
        self._tokens = tokens
        self._leases = leases
        self._static = static
        self._own_token = own_token

    def terms(self, role: str) -> Terms:
        shape, name = self._leases, self._path(self._leases.role, role)
        settings = answer_data(self._calls.get("read", name, name))
        if shape.terms:
            place = self._path(shape.terms, role)
            settings = self._calls.data("read", place, place) or {}
        tune = f"sys/mounts/{self.mount}/tune"
        mount = answer_data(self._calls.get("read", tune, tune))
        longest = min(duration(settings.get(shape.max_ttl)) or mount["max_lease_ttl"], mount["max_lease_ttl"])
        default = min(duration(settings.get(shape.default_ttl)) or mount["default_lease_ttl"], longest)
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
        name, body = self._path(self._leases.credential, role), self._leases.body
        if body is None:
            issued = self._calls.get("issue", name, name, token=token).json()
        else:
            issued = self._calls.post("issue", name, name, dict(body), token=token).json()
        lease_id = issued["lease_id"]
        if not lease_id:
            raise Invalid("issue", name, "the engine answers without a lease", "Name an engine and a role with leases")
        limit = life or terms.longest
        granted = Terms(min(timedelta(seconds=issued["lease_duration"]), limit), min(terms.longest, limit))
        return Lease(lease_id, answered_fields(issued["data"], self._leases.fields, name), granted, accessor)

    def leases(self, role: str) -> list[str]:
        prefix = f"{self._path(self._leases.credential, role)}/"
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
        name = self._path(self._static.role, role)
        if (settings := self._calls.data("read", name, name)) is None:
            return None
        # Only Vault has roles that rotate on a schedule.
        seconds = None if settings.get("rotation_schedule") else duration(settings[self._static.period])
        return StaticRole(settings[self._static.account], None if seconds is None else timedelta(seconds=seconds))

    def static_credential(self, role: str) -> SecretFields:
        name = self._path(self._static.credential, role)
        return answered_fields(answer_data(self._calls.get("read", name, name)), self._static.fields, name)

    def rotate_static(self, role: str) -> None:
        name = self._path(self._static.rotate, role)
        self._calls.post("rotate", name, name, {})

    def tokens(self, owner: str) -> list[str]:
        return self._tokens.of(owner)

    def end_token(self, owner: str, accessor: str) -> None:
        self._tokens.end(owner, accessor)

    def _path(self, template: str, role: str) -> str:
        return f"{self.mount}/{templates.fill(template, lambda _: role)}"


def answer_data(answer: requests.Response) -> Mapping[str, Any]:
    members: Mapping[str, Any] = answer.json()["data"]
    return members


def answered_fields(data: Mapping[str, Any], keys: Mapping[str, str], name: str) -> SecretFields:
    """The secret's fields in an answer. Raises Invalid for a missing one."""
    if lacking := sorted(key for key in keys.values() if not isinstance(data.get(key), str) or not data[key]):
        hint = "Correct `fields` under `shape`, in the catalogue"
        raise Invalid("read the answer of", name, f"it has no text {lacking[0]}", hint)
    return SecretFields({field: data[key] for field, key in keys.items()})


def duration(value: Any) -> float:
    """Seconds of a number or of a text such as 1h30m0s; 0 for nothing."""
    return parse(value).total_seconds() if isinstance(value, str) and value else float(value or 0)
