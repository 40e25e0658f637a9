"""The hub's database engine: leases of accounts that it makes, and static roles whose passwords it changes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final

import requests

from keyturn.core.engines import Lease, LeaseStanding, StaticRole, Terms
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.rights import holds
from keyturn.core.sensitive import SecretFields
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.capabilities import capabilities_at
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.leases import revoke_lease

OWNER: Final = "keyturn-secret"
"""The metadata of a token that was made to ask for a lease: the path of the secret that it is for."""
WORKSPACE: Final = "keyturn-state"
"""The same: the mount of Keyturn's own state, which no two workspaces share."""
LOOK_UP: Final = "auth/token/lookup-accessor"
THREADS: Final = 16
"""Tokens that are looked up at once."""


@reads_answers("the hub")
class VaultDatabase:
    """A :class:`keyturn.core.engines.DatabaseEngine` at ``mount``; ``owners`` keeps whose a token is, which stays so.

    Whose: the secret's path, and the mount of the Keyturn's state that has made it, both empty for any other token.

    A lease ends with the token that asked for it, so leases are asked for with an orphan token of ``token_role``
    (auth/token/roles); without one, with the worker's own.
    """

    def __init__(
        self,
        calls: Calls,
        mount: str,
        token_role: str | None,
        owners: dict[str, tuple[str, str]] | None = None,
        workspace: str = "",
    ) -> None:
        self.mount = mount
        self._owners = {} if owners is None else owners
        self._workspace = workspace
        self._calls = calls
        self._token_role = token_role

    def terms(self, role: str) -> Terms:
        """The role's TTLs; where it says none, and at most, those of the mount."""
        name = f"{self.mount}/roles/{role}"
        settings = answer_data(self._calls.get("read", name, name))
        tune = f"sys/mounts/{self.mount}/tune"
        mount = answer_data(self._calls.get("read", tune, tune))
        longest = min(settings["max_ttl"] or mount["max_lease_ttl"], mount["max_lease_ttl"])
        default = min(settings["default_ttl"] or mount["default_lease_ttl"], longest)
        return Terms(timedelta(seconds=default), timedelta(seconds=longest))

    def issue(self, role: str, owner: str = "") -> Lease:
        """A new account. Where none is given, the token that asked for it is given back."""
        terms, (token, life, accessor) = self.terms(role), self._asker(owner)
        name = f"{self.mount}/creds/{role}"
        try:
            issued = self._calls.get("issue", name, name, token=token).json()
        except KeyturnError:
            if token:
                self._calls.post("give back", f"the token for {name}", "auth/token/revoke-self", {}, token=token)
            raise
        limit = life or terms.longest
        granted = Terms(min(timedelta(seconds=issued["lease_duration"]), limit), min(terms.longest, limit))
        return Lease(issued["lease_id"], SecretFields(issued["data"]), granted, accessor)

    def leases(self, role: str) -> list[str]:
        """The ids of a role's leases; the policy needs `list` and `sudo` on sys/leases/lookup."""
        prefix = f"{self.mount}/creds/{role}/"
        return [prefix + key for key in self._calls.list(prefix, f"sys/leases/lookup/{prefix}")]

    def lease(self, lease_id: str) -> LeaseStanding | None:
        """What is left of a lease, by the hub's clock."""
        try:
            lease = answer_data(self._calls.post("look up", lease_id, "sys/leases/lookup", {"lease_id": lease_id}))
        except NotFound:
            return None
        since = lease["last_renewal"] or lease["issue_time"]
        granted = datetime.fromisoformat(lease["expire_time"]) - datetime.fromisoformat(since)
        return LeaseStanding(timedelta(seconds=lease["ttl"]), timedelta(seconds=round(granted.total_seconds())))

    def renew(self, lease_id: str) -> None:
        """Let a lease last for its role's default again, as far as its longest life allows."""
        self._calls.post("renew", lease_id, "sys/leases/renew", {"lease_id": lease_id})

    def revoke(self, lease_id: str) -> None:
        """End a lease and its account, before this returns. Absent is success."""
        revoke_lease(self._calls, lease_id)

    def static_role(self, role: str) -> StaticRole | None:
        """A static role; None when there is none of that name."""
        name = f"{self.mount}/static-roles/{role}"
        answer = self._calls.find("read", name, name)
        if answer is None:
            return None
        settings = answer_data(answer)
        # Vault, and not OpenBao, also knows roles that a calendar rotates.
        period = None if settings.get("rotation_schedule") else timedelta(seconds=settings["rotation_period"])
        return StaticRole(settings["username"], period)

    def static_credential(self, role: str) -> SecretFields:
        """Username and password as the engine knows them now."""
        name = f"{self.mount}/static-creds/{role}"
        credential = answer_data(self._calls.get("read", name, name))
        return SecretFields({"username": credential["username"], "password": credential["password"]})

    def rotate_static(self, role: str) -> None:
        """Give the account a new password at the database, before this returns."""
        name = f"{self.mount}/rotate-role/{role}"
        self._calls.post("rotate", name, name, {})

    def tokens(self, owner: str) -> list[str]:
        """The accessors of the tokens that tell this ``owner``: each that the hub has is looked up, once."""
        return [accessor for accessor, (secret, _) in self._owned() if secret == owner]

    def own_tokens(self, owner: str) -> list[str]:
        """Those of them that tell this workspace, too: an older Keyturn's tell none."""
        return [accessor for accessor, whose in self._owned() if whose == (owner, self._workspace)]

    def end_token(self, accessor: str) -> None:
        """End a token by its accessor. Absent is success."""
        try:
            self._calls.post("end", f"the token {accessor}", "auth/token/revoke-accessor", {"accessor": accessor})
        except (NotFound, Invalid):
            return  # the hub's word for an accessor that it does not know

    def _owned(self) -> list[tuple[str, tuple[str, str]]]:
        """Every token that the hub has, by its accessor, and whose it is."""
        accessors = self._calls.list("the hub's tokens", "auth/token/accessors")
        unknown = [accessor for accessor in accessors if accessor not in self._owners]
        with ThreadPoolExecutor(THREADS) as pool:
            owners = zip(unknown, pool.map(self._owner, unknown), strict=True)
            # An accessor without a token is not remembered: a snapshot that is restored brings the token back.
            self._owners.update({accessor: owner for accessor, owner in owners if owner is not None})
        return [(accessor, self._owners[accessor]) for accessor in accessors if accessor in self._owners]

    def _owner(self, accessor: str) -> tuple[str, str] | None:
        token = self.find_token(accessor)
        if token is None:
            return None
        meta = token.get("meta") or {}
        return str(meta.get(OWNER, "")), str(meta.get(WORKSPACE, ""))

    def find_token(self, accessor: str) -> Mapping[str, Any] | None:
        """What the hub says of a token; None where there is no token. Raises Denied without the right to look it up."""
        try:
            return self._look_up(accessor)
        except Denied:
            if accessor in self._calls.list("the hub's tokens", "auth/token/accessors"):
                return self._find_listed(accessor)
            return None

    def _find_listed(self, accessor: str) -> Mapping[str, Any] | None:
        """The same for one that the hub lists and has refused to look up.

        A hub that is killed while it makes or ends a token may keep the accessor without a usable token. It answers
        403 until `auth/token/tidy` runs, as it does without the right to ask, so that is checked before and after.
        """
        held_before = self._may_look_up()
        try:
            return self._look_up(accessor)
        except Denied:
            if held_before and self._may_look_up():
                return None
            raise

    def _may_look_up(self) -> bool:
        return holds(capabilities_at(self._calls, [LOOK_UP])[LOOK_UP], "update")

    def _look_up(self, accessor: str) -> Mapping[str, Any] | None:
        try:
            body = {"accessor": accessor}
            return answer_data(self._calls.post("look up", f"the token {accessor}", LOOK_UP, body))
        except (NotFound, Invalid):
            return None

    def _asker(self, owner: str) -> tuple[str | None, timedelta | None, str]:
        """The token to ask for a lease with, None for our own, how long it lives, None for always, and its accessor."""
        if self._token_role is None:
            own = answer_data(self._calls.get("look up", "the hub's login", "auth/token/lookup-self"))
            return None, lasting(own["ttl"]), ""
        name = f"auth/token/create/{self._token_role}"
        about = {"meta": {OWNER: owner, WORKSPACE: self._workspace}} if owner else {}
        made = self._calls.post("create", name, name, about).json()["auth"]
        return made["client_token"], lasting(made["lease_duration"]), made["accessor"]


def lasting(seconds: float) -> timedelta | None:
    """A token's life; 0 stands for one that never ends."""
    return timedelta(seconds=seconds) if seconds else None


def answer_data(answer: requests.Response) -> Mapping[str, Any]:
    """What an answer is about."""
    members: Mapping[str, Any] = answer.json()["data"]
    return members
