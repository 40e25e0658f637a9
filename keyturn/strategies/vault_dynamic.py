"""A new account for each version, made by an engine of the hub, kept alive, and ended by revoking its lease."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, Self

from pydantic import model_validator

from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.issued_tokens import LEASE_TOKENS, rules_to_issue, rules_to_use
from keyturn.core.ports.engines import LEASES, DatabaseEngine, Lease, LeaseShape, LeaseStanding
from keyturn.core.ports.strategies import EXPIRES_AT, TOKEN_ACCESSOR, Change, RevokeResult
from keyturn.core.rights.rights import ANYTHING, HubPlaces, Section, allow
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import EngineRole, refused
from keyturn.strategies.base import LoginStrategy, Tools, text_of
from keyturn.strategies.hub_engines import (
    LEASE_SHAPES,
    EngineSettings,
    LeaseShapeSettings,
    Probe,
    below,
    check_engine,
    lease_shape,
)

SHORTEST: Final = timedelta(hours=1)
"""The least life of an unrenewed lease: four runs of `rotate-due`, so that three may fail."""
EARLY: Final = timedelta(minutes=45)
"""A lease with less than this left is renewed, however short it is: three runs of `rotate-due`."""
TOKEN: Final = "token "
"""The prefix of an accessor among the names of found credentials."""
MOST: Final = 100
"""How many leases of the role the record of a rotation holds; many more belong to others."""


class VaultDynamic(LoginStrategy):
    """The lease is the credential; ``life`` is how long it must last, from one rotation to the end of its grace.

    ``former_roles`` are the roles of earlier leases, which end like its own. Asking for a lease makes an account at
    once, so the intent is saved first, with the existing leases. After a crash, newer leases that no secret holds are
    revoked.
    """

    mints_at_target = True

    def __init__(
        self,
        path: str,
        engine: DatabaseEngine,
        target: Probe,
        role: str,
        life: timedelta,
        clock: Callable[[], datetime],
        former_roles: Sequence[str] = (),
        shape: LeaseShape = LEASES,
    ) -> None:
        self.path = path
        self.engine = engine
        self.target = target
        self.role = role
        self.life = life
        self.clock = clock
        self.roles = (role, *former_roles)
        self.shape = shape
        self.credential_fields = frozenset({*shape.fields, "lease_id", TOKEN_ACCESSOR, EXPIRES_AT})
        self.places = tuple(below(engine.mount, shape.credential, name) for name in self.roles)
        self.place = self.places[0]

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for fields in (current, candidate):
            if fields is not None and "lease_id" in fields:
                self._must_be_ours(fields["lease_id"].reveal())
        if candidate is None:
            self._must_last()

    def existing_ids(self) -> Sequence[str]:
        """Return the role's leases. Raises Invalid where there are so many that others use the role too."""
        leases = self.engine.leases(self.role)
        if len(leases) > MOST:
            problem = f"it has {len(leases)} leases, so it is not this secret's alone"
            raise Invalid("list", self.place, problem, "Give the secret a role that is used for nothing else")
        return leases

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return a new lease. Raises Invalid, and ends the lease, when its token would not last until its end."""
        lease = self.engine.issue(self.role, self.path)
        if lease.terms.longest < self.life:
            self._end(lease.lease_id, lease.accessor)
            raise self._too_short(lease)
        ends_at = (self.clock() + lease.terms.longest).isoformat()
        return lease.fields.merged({"lease_id": lease.lease_id, TOKEN_ACCESSOR: lease.accessor, EXPIRES_AT: ends_at})

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        spared = {*before, *(fields["lease_id"].reveal() for fields in credentials if "lease_id" in fields)}
        for lease_id in self.engine.leases(self.role):
            if lease_id not in spared:
                self.engine.revoke(lease_id)

    def verify(self, change: Change) -> None:
        self.target.check(change.candidate)

    def abandon(self, change: Change) -> None:
        self._end(change.candidate["lease_id"].reveal(), accessor(change.candidate))

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        if "lease_id" not in current:
            return {}
        named = (name for name in ("lease_id", self.shape.account, TOKEN_ACCESSOR) if current.get(name))
        return {name: current[name].reveal() for name in named}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        account = credential_id.get(self.shape.account)
        count = self.target.sessions(account) if account else 0
        return (f"{self.target.name}:{account} has {count} open sessions",) if count else ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if "lease_id" in credential_id:
            self._end(credential_id["lease_id"], credential_id.get(TOKEN_ACCESSOR, ""))

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Refuse logins of the lease's account and end its sessions, and revoke the lease even where that fails.

        A lease of an unnamed role ends with the token that asked for it. Raises Invalid where there is no such token
        and the account still works.
        """
        lease_id, account = (
            credential["lease_id"].reveal() if "lease_id" in credential else "",
            self._account(credential),
        )
        if not self._is_ours(lease_id):
            return self._revoke_by_token(credential, lease_id, sequence)
        lasting = self._lasting(credential, lease_id)
        if account is None:
            self._end(lease_id, accessor(credential))
            left = f"sessions of the account of {lease_id}, whose name this version does not have"
            return RevokeResult(outlives=(left, *lasting) if self.shape.account else lasting)
        try:
            cut = self.target.revoke(account, sequence, lambda: self.engine.revoke(lease_id))
        except KeyturnError as error:
            self._end(lease_id, accessor(credential))
            left = f"sessions of {self.target.name}:{account} that were open by then: {error.problem}. {error.hint}"
            return RevokeResult(outlives=(left.rstrip(), *lasting))
        self._end(lease_id, accessor(credential))
        return replace(cut, outlives=(*cut.outlives, *lasting))

    def _revoke_by_token(self, credential: SecretFields, lease_id: str, sequence: int) -> RevokeResult:
        account, token = self._account(credential), accessor(credential)
        if not (lease_id or token) or not self.accepts(credential):
            return RevokeResult()
        if account is None or token not in self.engine.tokens(self.path):
            if lease_id:
                self._must_be_ours(lease_id)
            return RevokeResult()
        cut = self.target.revoke(account, sequence, lambda: self.engine.end_token(self.path, token))
        self.engine.end_token(self.path, token)
        what = lease_id or f"the account {account}"
        return replace(cut, outlives=(*cut.outlives, f"{what}, for the moments until the hub has revoked it too"))

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        accounts = {name for credential in credentials if (name := self._account(credential))}
        return self.target.last_sequence(accounts) if accounts else 0

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        serving = {fields["lease_id"].reveal() for fields in spared if "lease_id" in fields}
        for role in self.roles:
            yield from (lease_id for lease_id in self.engine.leases(role) if lease_id not in serving)
        accessors = {accessor(fields) for fields in spared}
        yield from (f"{TOKEN}{token}" for token in self.engine.tokens(self.path) if token not in accessors)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """Revoke the lease, which drops its account, or the token with all its leases.

        The hub revokes a token's leases one by one, after it has reported the token as ended.
        """
        if name.startswith(TOKEN):
            self.engine.end_token(self.path, name.removeprefix(TOKEN))
            return RevokeResult(outlives=(f"leases of {name}, for the moments until the hub has revoked them too",))
        self.engine.revoke(name)
        return RevokeResult(outlives=(f"sessions of the account of {name}, which no readable version names",))

    def accepts(self, credential: SecretFields) -> bool | None:
        return self.target.accepts(credential) if any(credential.get(name) for name in self.shape.fields) else None

    def renew(self, credential_id: Mapping[str, str]) -> None:
        """Renew the lease once less than half of it, or than 45 minutes, is left. Raises NotFound when it has ended."""
        if "lease_id" not in credential_id:
            return
        lease = self.engine.lease(credential_id["lease_id"])
        if lease is None:
            problem = "the lease has ended, so its account can't log in any more"
            raise NotFound(
                "renew", credential_id["lease_id"], problem, f"Replace it now: `keyturn rotate {self.path} --now`"
            )
        if self.shape.renewable and wants_renewal(lease):
            self.engine.renew(credential_id["lease_id"])

    def _end(self, lease_id: str, token: str) -> None:
        self.engine.revoke(lease_id)
        if token:
            self.engine.end_token(self.path, token)

    def _account(self, fields: SecretFields) -> str | None:
        return text_of(fields, self.shape.account)

    def _lasting(self, credential: SecretFields, lease_id: str) -> tuple[str, ...]:
        if self.shape.ends_with_lease:
            return ()
        until = text_of(credential, EXPIRES_AT) or "it expires"
        return (f"the credential of {lease_id}, which its engine can't end: it works until {until}",)

    def _is_ours(self, lease_id: str) -> bool:
        return any(lease_id.startswith(f"{place}/") for place in self.places)

    def _must_be_ours(self, lease_id: str) -> None:
        if not self._is_ours(lease_id):
            problem = "the secret holds a lease of another role"
            run = "`keyturn setup hub --apply`"
            hint = f"If the secret has changed its role, name that one under former_roles and run {run}"
            raise Invalid("rotate", lease_id.rpartition("/")[0], f"{problem} than {self.place}", hint)

    def _must_last(self) -> None:
        terms, name = self.engine.terms(self.role), below(self.engine.mount, self.shape.role, self.role)
        if not self.shape.renewable and terms.default < self.life:
            problem = f"its leases last {terms.default} and can't be renewed, and one rotation and its grace need"
            raise Invalid("read", name, f"{problem} {self.life}", "Raise their default life, or rotate more often")
        if terms.longest < self.life:
            problem = f"its leases can last {terms.longest}, and one rotation and its grace need {self.life}"
            hint = "Raise its max_ttl, and max_lease_ttl of the mount, or rotate more often"
            raise Invalid("read", name, problem, hint)
        if terms.default < SHORTEST:
            problem = f"its leases last {terms.default} unless renewed, and they are renewed every 15 minutes"
            raise Invalid("read", name, problem, f"Raise its default_ttl to {SHORTEST} or more")

    def _too_short(self, lease: Lease) -> Invalid:
        problem = f"the lease ends with the token that asked for it, after {lease.terms.longest}"
        hint = "Run `keyturn setup hub --apply`: it sets how long tokens of KEYTURN_HUB_LEASE_TOKEN_ROLE live"
        return Invalid("issue", self.place, f"{problem}, and one rotation and its grace need {self.life}", hint)


def accessor(fields: SecretFields) -> str:
    return fields[TOKEN_ACCESSOR].reveal() if TOKEN_ACCESSOR in fields else ""


def wants_renewal(lease: LeaseStanding) -> bool:
    return lease.left < max(lease.granted / 2, EARLY)


class VaultDynamicSettings(EngineSettings):
    """An engine of the hub makes a new account for each version."""

    renews = True
    leaves_tokens = True

    strategy: Literal["vault-dynamic"]
    """How the secret is replaced."""
    role: EngineRole
    """The engine's role, of no other secret. Its leases last an hour or more unless they are renewed, and can last
    for interval, jitter and grace together."""
    shape: LeaseShapeSettings | None = None
    """Where the engine's paths, keys and fields differ from what Keyturn knows of its type."""

    former_roles: tuple[EngineRole, ...] = ()
    """Roles that the secret took leases of before, and no other secret's: these leases end like those of `role`."""

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        if self.role in self.former_roles:
            raise refused(f"{self.role} is the role in use", "Leave it out here.", "former_roles")
        return self

    @model_validator(mode="after")
    def _engine_is_described(self) -> Self:
        check_engine(self.engine, LEASE_SHAPES, self.shape is not None and "fields" in self.shape.model_fields_set)
        if self.lease_shape.account and self.lease_shape.account not in self.lease_shape.fields:
            remedy = "Name one of the fields that holds no secret, or account: null."
            raise refused(f"there is no field {self.lease_shape.account}", remedy, "shape")
        self.check_requests(self.lease_shape.fields)
        return self

    @property
    def lease_shape(self) -> LeaseShape:
        return lease_shape(self.engine, self.shape)

    @property
    def lease_places(self) -> tuple[str, ...]:
        return tuple(below(self.mount, self.lease_shape.credential, role) for role in (self.role, *self.former_roles))

    def commands_to_end(self) -> tuple[str, ...]:
        return tuple(f"vault lease revoke -prefix {place}" for place in self.lease_places)

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        anything = self.role == ANYTHING
        these = {"lease_id": tuple(place if anything else f"{place}/*" for place in self.lease_places)}
        yield Section(
            "For the strategy vault-dynamic: how long a role's leases last, tokens that ask for leases"
            " (keyturn-lease.hcl) and end with theirs, seeing leases, renewing them, ending them. A token is ended by"
            " its own lease, so no other token is within reach.",
            (
                *(
                    allow(below(self.mount, path, self.role), "read")
                    for path in (self.lease_shape.role, self.lease_shape.terms)
                    if path
                ),
                allow(f"sys/mounts/{self.mount}/tune", "read"),
                *rules_to_issue(places.state_mount, places.lease_token_role, LEASE_TOKENS),
                *(
                    allow(f"sys/leases/lookup/{place if anything else f'{place}/'}", "list", "sudo")
                    for place in self.lease_places
                ),
                allow("sys/leases/lookup", "update", **these),
                allow("sys/leases/renew", "update", **these),
                allow("sys/leases/revoke", "update", **these, sync=()),
            ),
        )

    def rights_to_ask(self, places: HubPlaces) -> Iterator[Section]:
        yield Section(
            "A lease ends with the token that asked for it (strategy vault-dynamic), so the worker's own short-lived"
            " token must not be the one.",
            (allow(self.lease_places[0], "read" if self.lease_shape.body is None else "update"), *rules_to_use()),
        )

    def open(self, path: str, tools: Tools) -> VaultDynamic:
        life = (self.longest or timedelta(0)) + self.grace
        engine = tools.hub.database(self.mount, leases=self.lease_shape)
        probe, shape = self.probe(path, tools), self.lease_shape
        return VaultDynamic(path, engine, probe, self.role, life, tools.clock, self.former_roles, shape)
