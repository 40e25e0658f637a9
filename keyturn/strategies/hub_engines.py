"""The hub's engines that make accounts: their shapes as data, and what tries an account that one has made."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Protocol

from pydantic import AfterValidator, Field, model_validator

from keyturn.core.errors import CandidateRejected, Denied
from keyturn.core.ports.engines import LEASES, STATIC_ROLES, LeaseShape, StaticShape
from keyturn.core.ports.rest import Answer, Listing, Request, RestApi
from keyturn.core.ports.strategies import EXPIRES_AT, TOKEN_ACCESSOR, AccountTarget, LeavesSessions, RevokeResult
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.connections import Connection
from keyturn.settings.fields import EngineMount, Line, Model, matching, refused
from keyturn.settings.requests import ListSettings, RequestSettings, ShortName, check_names
from keyturn.strategies.base import StrategySettings, Tools, text_of
from keyturn.strategies.database_users import ACCOUNTS, revoked
from keyturn.strategies.rest import ABSENT, KeyTest, TrySettings

TARGETS: Final = ACCOUNTS | {"http-api"}
ACCOUNT: Final = "account"

# Sources: the API documentation of Vault 1.21 and OpenBao 2.7, "Secrets Engines".
LEASE_SHAPES: Final[Mapping[str, LeaseShape]] = {
    "database": LEASES,
    "rabbitmq": LeaseShape(terms="config/lease", default_ttl="ttl"),
    "ldap": LeaseShape(role="role/{{role}}"),
    "aws": LeaseShape(
        terms="config/lease",
        default_ttl="lease",
        max_ttl="lease_max",
        fields={"access_key_id": "access_key", "secret_access_key": "secret_key"},
        account="access_key_id",
    ),
    "azure": LeaseShape(
        default_ttl="ttl", fields={"client_id": "client_id", "client_secret": "client_secret"}, account="client_id"
    ),
    "gcp": LeaseShape(
        credential="roleset/{{role}}/key",
        role="roleset/{{role}}",
        terms="config",
        default_ttl="ttl",
        fields={"private_key_data": "private_key_data"},
        account="",
    ),
    "kubernetes": LeaseShape(
        body={},
        default_ttl="token_default_ttl",
        max_ttl="token_max_ttl",
        fields={"service_account_name": "service_account_name", "token": "service_account_token"},
        account="service_account_name",
        renewable=False,
    ),
    "consul": LeaseShape(default_ttl="ttl", fields={"accessor": "accessor", "token": "token"}, account="accessor"),
    "nomad": LeaseShape(
        role="role/{{role}}",
        terms="config/lease",
        default_ttl="ttl",
        fields={"accessor_id": "accessor_id", "token": "secret_id"},
        account="accessor_id",
    ),
    "mongodbatlas": LeaseShape(
        default_ttl="ttl", fields={"public_key": "public_key", "private_key": "private_key"}, account="public_key"
    ),
}
STATIC_SHAPES: Final[Mapping[str, StaticShape]] = {
    "database": STATIC_ROLES,
    "ldap": StaticShape(role="static-role/{{role}}", credential="static-cred/{{role}}"),
    "ad": StaticShape(
        role="roles/{{role}}",
        account="service_account_name",
        period="ttl",
        credential="creds/{{role}}",
        fields={"username": "username", "password": "current_password"},
    ),
}
NO_FIELD: Final = frozenset({"lease_id", TOKEN_ACCESSOR, EXPIRES_AT, "rotated_at"})


# --- what tries an account ---------------------------------------------------------------------------------


class Probe(Protocol):
    """What tries credentials that an engine has made, and ends sessions of their accounts."""

    name: str

    def check(self, fields: SecretFields) -> None:
        """Try a new credential. Raises CandidateRejected."""

    def accepts(self, fields: SecretFields) -> bool | None:
        """Whether it is accepted; None where that can't be tried."""

    def sessions(self, account: str) -> int:
        """The number of the account's open sessions, as far as they can be seen."""

    def revoke(self, account: str, sequence: int, refuse: Callable[[], None]) -> RevokeResult:
        """Refuse logins of an account, at least by calling ``refuse``, and end its sessions."""

    def end_sessions(self, account: str) -> RevokeResult:
        """End an account's sessions."""

    def last_sequence(self, accounts: Collection[str]) -> int:
        """The highest number recorded with these accounts; 0 if there is none."""

    def read_connection(self, text: Sensitive, /) -> Connection | None:
        """The login in a connection string; None for any other text."""

    def check_login(self, account: str, password: Sensitive, /) -> None:
        """Log in. Raises CandidateRejected."""


class AccountProbe:
    """Logs in at a target with accounts."""

    def __init__(self, target: AccountTarget) -> None:
        self.target = target
        self.name = target.name
        self.sessions = target.sessions
        self.last_sequence = target.last_sequence
        self.read_connection = target.read_connection
        self.check_login = target.check_login

    def check(self, fields: SecretFields) -> None:
        self.target.check_login(fields["username"].reveal(), fields["password"])

    def accepts(self, fields: SecretFields) -> bool | None:
        if text_of(fields, "username") is None or "password" not in fields:
            return None
        return self.target.accepts(fields["username"].reveal(), fields["password"])

    def revoke(self, account: str, sequence: int, refuse: Callable[[], None]) -> RevokeResult:
        try:
            return revoked(self.target, account, sequence)
        except Denied:
            # Accounts of the engine's admin are mostly not ours to alter, and ending sessions takes fewer rights.
            return self._ended(account, refuse)

    def end_sessions(self, account: str) -> RevokeResult:
        return self._ended(account, lambda: None)

    def _ended(self, account: str, refuse: Callable[[], None]) -> RevokeResult:
        leaves, count = capability(self.target, LeavesSessions), self.target.end_sessions(account, refuse)
        return RevokeResult(count, outlives=(leaves.left_open(account),) if leaves else ())


class Untried:
    """No target: nothing is tried and no session is seen."""

    name = "no target"

    def check(self, fields: SecretFields) -> None:
        """Nothing to try it at."""

    def accepts(self, fields: SecretFields) -> bool | None:
        return None

    def sessions(self, account: str) -> int:
        return 0

    def revoke(self, account: str, sequence: int, refuse: Callable[[], None]) -> RevokeResult:
        refuse()
        return self.end_sessions(account)

    def end_sessions(self, account: str) -> RevokeResult:
        return RevokeResult(
            outlives=(f"sessions that {account} has open at {self.name}: nothing is set that ends them",)
        )

    def last_sequence(self, accounts: Collection[str]) -> int:
        return 0

    def read_connection(self, text: Sensitive, /) -> Connection | None:
        return None

    def check_login(self, account: str, password: Sensitive, /) -> None:
        raise CandidateRejected("log in as", f"{self.name}:{account}", "there is no target to log in at", "Name one")


class ApiProbe(Untried):
    """Tries credentials by a request to a REST API."""

    def __init__(self, api: RestApi, path: str, test: KeyTest, listing: Listing | None, end: Request | None) -> None:
        self.api = api
        self.name = api.name
        self.path = path
        self.test = test
        self.listing = listing
        self.end = end

    def check(self, fields: SecretFields) -> None:
        self.test.insist(self._tried(fields))

    def accepts(self, fields: SecretFields) -> bool | None:
        if not all(self._tried(fields).get(name) for name in self.test.request.names):
            return None
        return self.test.refusal(self._tried(fields)) is None

    def sessions(self, account: str) -> int:
        return len(self._listed(account))

    def end_sessions(self, account: str) -> RevokeResult:
        if self.end is None:
            return super().end_sessions(account)
        count = self.sessions(account)
        self.api.call(self.end, SecretFields({ACCOUNT: account}), "end the sessions at", also=(ABSENT,))
        return RevokeResult(count)

    def _listed(self, account: str) -> Sequence[Answer]:
        if self.listing is None:
            return ()
        return self.api.listed(self.listing, SecretFields({ACCOUNT: account}), "list the sessions at")

    def _tried(self, fields: SecretFields) -> SecretFields:
        return SecretFields({"path": self.path, **fields})


# --- in the catalogue --------------------------------------------------------------------------------------


ROLE: Final = "{{role}}"
CREDENTIAL_PATHS: Final = frozenset(
    {"creds", "cred", "credentials", "static-cred", "static-creds", "sts", "key", "token"}
)
ROLE_PATHS: Final = frozenset(
    {"role", "roles", "static-role", "static-roles", "roleset", "static-account", "impersonated-account"}
)
TERMS_PATHS: Final = frozenset({"config", "lease"})
ROTATE_PATHS: Final = frozenset({"rotate-role", "rotate-creds", "rotate-credentials"})
"""The segments of the paths that a catalogue may describe: of credentials, roles, times, and new static credentials.

Others set an engine up, or belong to another kind of engine, and the worker's policy would grant them.
"""


def _below_mount(what: Collection[str], around: Collection[str] = (), *, needs_role: bool = True) -> AfterValidator:
    """Allow only paths of these segments, one of them of ``what``, and of {{role}} as a whole segment."""

    def check(path: str) -> str:
        if unknown := [name for name in templates.names(path) if name != "role"]:
            raise refused(f"asks for {{{{{unknown[0]}}}}}, which is not known there", f"Write {ROLE}.")
        segments = path.split("/")
        literal = [segment for segment in segments if segment != ROLE]
        if not {*what} & {*literal} or {*literal} - {*what, *around}:
            remedy = f"Use a path of {ROLE} and one of {', '.join(sorted(what))}."
            raise refused("is no such path of an engine that Keyturn may use", remedy)
        if needs_role and segments.count(ROLE) != 1:
            raise refused(f"does not name the role as one part of the path: {ROLE}", f"Write {ROLE} once.")
        return path

    return AfterValidator(check)


def _own_fields(fields: dict[str, str]) -> dict[str, str]:
    if taken := sorted(NO_FIELD & fields.keys()):
        raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.")
    return fields


EnginePath = Annotated[
    str, matching(r"[\w.{}-]+(/[\w.{}-]+)*", "is not a path below the mount", "Write it without a slash at its ends.")
]
CredentialPath = Annotated[EnginePath, _below_mount(CREDENTIAL_PATHS, ROLE_PATHS)]
RolePath = Annotated[EnginePath, _below_mount(ROLE_PATHS)]
TermsPath = Annotated[EnginePath, _below_mount(TERMS_PATHS, needs_role=False)]
RotatePath = Annotated[EnginePath, _below_mount(ROTATE_PATHS)]
Fields = Annotated[dict[ShortName, Line], Field(min_length=1), AfterValidator(_own_fields)]


class LeaseShapeSettings(Model):
    """How an engine differs from what Keyturn knows of it."""

    credential: CredentialPath = LEASES.credential
    """The path below the mount where a credential is requested, and its leases are."""
    body: dict[str, Any] | None = None
    """What a request for a credential sends; without it, the credential is read."""
    role: RolePath = LEASES.role
    """The path of the role."""
    terms: TermsPath | None = None
    """The path of the lease's times, where the role does not hold them."""
    default_ttl: Line = LEASES.default_ttl
    """The key of the time that an unrenewed lease lasts."""
    max_ttl: Line = LEASES.max_ttl
    """The key of the longest time."""
    fields: Fields = Field(default_factory=lambda: dict(LEASES.fields))
    """The secret's fields, each with its key in the engine's answer."""
    account: ShortName | None = LEASES.account
    """The field that names the account. It is shown to people, so it must hold no secret."""
    renewable: bool = True
    """Whether leases can be renewed."""
    ends_with_lease: bool = True
    """Whether a credential ends with its lease; false if it works until it expires."""


class StaticShapeSettings(Model):
    """How an engine's static roles differ from what Keyturn knows of them."""

    role: RolePath = STATIC_ROLES.role
    """The path of the role below the mount."""
    account: Line = STATIC_ROLES.account
    """The key of the account's name in the role."""
    period: Line = STATIC_ROLES.period
    """The key of the time after which the engine rotates it by itself."""
    credential: CredentialPath = STATIC_ROLES.credential
    """The path of the credential."""
    fields: Fields = Field(default_factory=lambda: dict(STATIC_ROLES.fields))
    """The secret's fields, each with its key in the engine's answer; one is `username`."""
    rotate: RotatePath = STATIC_ROLES.rotate
    """The path that makes the engine change the credential."""


class EngineSettings(StrategySettings):
    """What the strategies over an engine of the hub share."""

    targets = TARGETS
    claims_role = True

    target: Line | None = None
    """The name of the target that a new credential is tried at; without it, none is tried."""
    engine: ShortName = "database"
    """The type of the hub's engine."""
    mount: EngineMount = "database"
    """Where the engine is mounted; by default at the name of its type."""
    test: TrySettings | None = None
    """The request that tries a credential (GET), where the target is an API."""
    sessions: ListSettings | None = None
    """The request that lists the open sessions of an account (GET), where the target is an API."""
    end_sessions: RequestSettings | None = None
    """The request that ends them (DELETE), for an emergency."""

    @model_validator(mode="before")
    @classmethod
    def _mounted_at_its_type(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("engine"), str) and "mount" not in data:
            return {**data, "mount": data["engine"]}
        return data

    def check_requests(self, fields: Collection[str]) -> None:
        """Refuse requests that are not complete."""
        check_names(self.test, "test", {*fields, "path"})
        check_names(self.sessions, "sessions", {ACCOUNT}, "admin.")
        check_names(self.end_sessions, "end_sessions", {ACCOUNT}, "admin.")
        for key in ("test", "sessions", "end_sessions"):
            if getattr(self, key) is not None and (self.target is None or self.test is None):
                raise refused("needs a target that is an API, and test", "Name them, or leave this out.", key)

    def probe(self, path: str, tools: Tools) -> Probe:
        if self.target is None:
            return Untried()
        if self.test is None:
            return AccountProbe(tools.target(self.target))
        api = tools.target(self.target)
        listing = self.sessions.listing if self.sessions else None
        end = self.end_sessions.request("DELETE") if self.end_sessions else None
        return ApiProbe(api, path, self.test.key_test(api), listing, end)


def below(mount: str, path: str, role: str) -> str:
    """Return the path of a role's thing in the hub."""
    return f"{mount}/{templates.fill(path, lambda _: role)}"


def lease_shape(engine: str, own: LeaseShapeSettings | None) -> LeaseShape:
    shape = LEASE_SHAPES.get(engine, LEASES)
    changed = own.model_dump(exclude_unset=True) if own else {}
    changes: dict[str, Any] = {
        key: value or "" if key in ("terms", "account") else value for key, value in changed.items()
    }
    return replace(shape, **changes)


def static_shape(engine: str, own: StaticShapeSettings | None) -> StaticShape:
    return replace(STATIC_SHAPES.get(engine, STATIC_ROLES), **(own.model_dump(exclude_unset=True) if own else {}))


def check_engine(engine: str, shapes: Collection[str], described: bool) -> None:
    """Refuse an unknown engine without the names of its fields."""
    if engine not in shapes and not described:
        remedy = f"Describe it under shape:, with fields. Known are {', '.join(sorted(shapes))}."
        raise refused(f"nothing is known of the engine {engine}", remedy, "engine")
