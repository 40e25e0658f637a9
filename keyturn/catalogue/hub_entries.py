"""Entries of the section `hub:` for `keyturn setup hub --apply`: logins, roles of engines and limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.stores.aws import RoleArn
from keyturn.core.rights.hub_setup import HubResource, Kind
from keyturn.settings.choices import ByTag
from keyturn.settings.fields import (
    Duration,
    EngineMount,
    HttpsUrl,
    Line,
    Model,
    PositiveDuration,
    WebUrl,
    keep_plain_http_at_home,
    matching,
    refused,
    split_url,
)

LOGIN: Final = (
    r"(worker|revoker|notary|monitor|numbers|planner|auditor|granter|consumer:[A-Za-z0-9][A-Za-z0-9_-]{0,62})"
)
APPROLE: Final = "approle"
PERSON: Final = r"(worker|revoker|monitor|planner|auditor|requester|approver|viewer)"
VARIABLE: Final = r"KEYTURN_SETUP_[A-Z0-9_]+"
"""Variables whose content may be written to the hub; a catalogue can send no other ones anywhere."""
OWN: Final = ("worker", "revoker", "notary")
"""Logins that may replace their own secret ids, and so must be bound to addresses."""

Login = Annotated[
    str,
    matching(
        LOGIN,
        "is no login",
        "Write worker, revoker, notary, monitor, numbers, planner, auditor, granter or consumer:NAME.",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{LOGIN}$"}),
]

PersonLogin = Annotated[
    str,
    matching(
        PERSON,
        "is no login of people",
        "Write worker, revoker, monitor, planner, auditor, requester, approver or viewer.",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{PERSON}$"}),
]

Variable = Annotated[
    str,
    matching(VARIABLE, "is no variable that is read here", "Name one that begins with KEYTURN_SETUP_."),
    WithJsonSchema({"type": "string", "pattern": f"^{VARIABLE}$"}),
]


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise refused("is no address or network", "Write 10.0.0.0/8 or 192.0.2.7.") from None
    return text


Network = Annotated[Line, AfterValidator(_network)]
Statement = Annotated[str, Field(min_length=1)]


def _ldap(url: str) -> str:
    split_url(url, ("ldaps", "ldap"))
    return url


def _redirect(url: str) -> str:
    keep_plain_http_at_home(url, insecure_http=False, remedy="Write https://, or http://localhost:8250/oidc/callback.")
    return url


Redirect = Annotated[WebUrl, AfterValidator(_redirect)]
LdapUrl = Annotated[str, AfterValidator(_ldap), WithJsonSchema({"type": "string", "pattern": "^ldaps?://"})]

Entry = TypeVar("Entry")


def in_one_place(entry: Entry, file: str | None, variable: str | None, key: str) -> Entry:
    """Requires exactly one source of the entry's secret."""
    if bool(file) == bool(variable):
        remedy = f"Say {key}_file, or {key}_variable."
        raise refused("its secret is read from one place", remedy, f"{key}_file")
    return entry


class LoginEntry(Model):
    """A role of an auth method: its logins and their purpose."""

    login: Login
    """The purpose: worker, revoker, notary, monitor, numbers, planner, auditor, granter or consumer:NAME."""
    token_ttl: PositiveDuration = timedelta(hours=1)
    """The lifetime of a token before renewal."""
    token_max_ttl: Duration = timedelta(0)
    """The maximum lifetime of a token with renewals; by default, the hub's limit."""
    addresses: tuple[Network, ...] = ()
    """The networks from which its tokens may be used; any by default."""


class AppRoleEntry(LoginEntry):
    """An AppRole of the method `approle`, with the entry's name."""

    kind: Literal["approle"]
    """The kind of entry."""
    secret_id_ttl: PositiveDuration = timedelta(days=32)
    """The lifetime of a secret id."""
    secret_id_uses: Annotated[int, Field(ge=0)] = 0
    """The number of uses of a secret id; 0 for unlimited."""

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if self.login in OWN and not self.addresses:
            message = f"a login of the {self.login} may replace its own secret id, and works from anywhere"
            raise refused(message, "Say the addresses that it is used from.", "addresses")
        return self


class JwtEntry(Model):
    """An auth method for tokens that another system signs, by OIDC discovery or by its keys. Its mount is its name."""

    kind: Literal["jwt"]
    """The kind of entry."""
    discovery_url: HttpsUrl | None = None
    """The base URL of OIDC discovery, instead of keys_url or public_keys. The hub contacts it during setup."""
    keys_url: HttpsUrl | None = None
    """The URL of its public keys (JWKS), instead of discovery_url or public_keys."""
    public_keys: tuple[Statement, ...] = ()
    """Its public keys in PEM, instead of discovery_url or keys_url."""
    issuer: Line | None = None
    """The issuer that its tokens must name."""
    ca_certificate: Statement | None = None
    """The CA of these addresses, in PEM; by default, the hub's trusted CAs."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.discovery_url, self.keys_url, self.public_keys))) != 1:
            remedy = "Say one of discovery_url, keys_url and public_keys."
            raise refused("its keys are found in one way", remedy, "discovery_url")
        return self


class JwtRoleEntry(LoginEntry):
    """A login by a token of another system; the role has the entry's name."""

    kind: Literal["jwt-role"]
    """The kind of entry."""
    method: Line
    """The entry of kind jwt."""
    audiences: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The audiences; its tokens name at least one of them."""
    subject: Line | None = None
    """The subject of its tokens."""
    claims: dict[Line, Line] = Field(default_factory=dict)
    """Other claims that its tokens must have, with their values."""
    user_claim: Line = "sub"
    """The claim that identifies the user."""
    groups_claim: Line | None = None
    """The claim with the user's groups, for logins of people."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.subject is None and not self.claims:
            remedy = "Say the subject, or claims: otherwise any token of that audience may log in."
            raise refused("it is for everybody", remedy, "subject")
        return self


class KubernetesEntry(Model):
    """The auth method for service accounts of a cluster. Its mount is its name."""

    kind: Literal["kubernetes"]
    """The kind of entry."""
    host: HttpsUrl
    """The address of the cluster's API."""
    ca_certificate: Statement | None = None
    """The CA of the API, in PEM; by default, that of the hub's own pod."""


class KubernetesRoleEntry(LoginEntry):
    """A login of service accounts; the role has the entry's name."""

    kind: Literal["kubernetes-role"]
    """The kind of entry."""
    method: Line
    """The entry of kind kubernetes."""
    service_accounts: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The names of the service accounts."""
    namespaces: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The namespaces of the service accounts."""
    audience: Line | None = None
    """The audience of their tokens."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if "*" in self.service_accounts and "*" in self.namespaces:
            raise refused("it is for everybody in the cluster", "Name service accounts, or namespaces.", "namespaces")
        return self


class PeopleEntry(Model):
    """The lifetime and the permissions of people's logins, independent of their groups."""

    logins: tuple[PersonLogin, ...] = ()
    """The permissions of everyone who logs in; by default, only those of their groups."""
    token_ttl: PositiveDuration = timedelta(hours=1)
    """The lifetime of a token before renewal; people keep the rights of a former group that long."""
    token_max_ttl: Duration = timedelta(0)
    """The maximum lifetime of a token with renewals; by default, the hub's limit."""
    addresses: tuple[Network, ...] = ()
    """The networks from which its tokens may be used; any by default."""


class OidcEntry(Model):
    """The auth method for people of an OIDC provider, who log in with the browser. Its mount is its name."""

    kind: Literal["oidc"]
    """The kind of entry."""
    discovery_url: HttpsUrl
    """The base URL of OIDC discovery. The hub contacts it during setup."""
    client_id: Line
    """The hub's client id at the provider."""
    client_secret_file: Line | None = None
    """A local file with the client's secret, read by `keyturn setup hub --apply`; instead of client_secret_variable."""
    client_secret_variable: Variable | None = None
    """The environment variable KEYTURN_SETUP_* with the client's secret; instead of client_secret_file."""
    default_role: Line | None = None
    """The entry of kind oidc-role for people who choose none."""
    ca_certificate: Statement | None = None
    """The CA of the provider, in PEM; by default, the hub's trusted CAs."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        return in_one_place(self, self.client_secret_file, self.client_secret_variable, "client_secret")


class OidcRoleEntry(PeopleEntry):
    """A login of people of an OIDC provider; the role has the entry's name."""

    kind: Literal["oidc-role"]
    """The kind of entry."""
    method: Line
    """The entry of kind oidc."""
    allowed_redirect_uris: Annotated[tuple[Redirect, ...], Field(min_length=1)]
    """The addresses to which the provider may redirect the browser, such as http://localhost:8250/oidc/callback."""
    user_claim: Line = "sub"
    """The claim that identifies the user."""
    groups_claim: Line | None = None
    """The claim with the user's groups."""
    scopes: tuple[Line, ...] = ()
    """The scopes to request in addition to openid, such as groups."""
    claims: dict[Line, Line] = Field(default_factory=dict)
    """Required claims, with their values."""
    claim_mappings: dict[Line, Line] = Field(default_factory=dict)
    """Claims that the hub keeps as metadata of the login, with their names there."""


class LdapEntry(PeopleEntry):
    """The auth method for people of a directory. Its mount is its name. Some packages of OpenBao lack it."""

    kind: Literal["ldap"]
    """The kind of entry."""
    url: LdapUrl
    """Its address, ldaps://HOST; ldap:// only with start_tls."""
    start_tls: bool = False
    """Whether an unencrypted connection switches to TLS."""
    certificate: Statement | None = None
    """The CA of the directory, in PEM; by default, the hub's trusted CAs."""
    user_dn: Line
    """The base DN of its people, such as ou=people,dc=example,dc=com."""
    user_attribute: Line = "cn"
    """The attribute with the login name."""
    group_dn: Line | None = None
    """The base DN of its groups."""
    group_attribute: Line = "cn"
    """The attribute with a group's name."""
    group_filter: Line | None = None
    """The filter for a person's groups, with {{.UserDN}} and {{.Username}}; by default, the hub's own."""
    bind_dn: Line
    """The DN that the hub uses for searches."""
    bind_password_file: Line | None = None
    """A local file with the password of bind_dn, for `keyturn setup hub --apply`; instead of bind_password_variable."""
    bind_password_variable: Variable | None = None
    """The environment variable KEYTURN_SETUP_* with the password of bind_dn; instead of bind_password_file."""

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.url.startswith("ldap:") and not self.start_tls:
            raise refused("passwords would go there in clear", "Write ldaps://, or start_tls: true.", "url")
        return in_one_place(self, self.bind_password_file, self.bind_password_variable, "bind_password")


class GroupEntry(Model):
    """A group of a provider or directory, and the permissions of its people. The hub's group has the entry's name."""

    kind: Literal["group"]
    """The kind of entry."""
    method: Line
    """The entry of kind oidc, ldap or jwt with its people's logins."""
    group: Line | None = None
    """Its name at the provider, if it differs from the entry's name."""
    logins: Annotated[tuple[PersonLogin, ...], Field(min_length=1)]
    """The permissions of its people: worker, revoker, monitor, planner, auditor, requester, approver."""


class AwsLoginEntry(Model):
    """The auth method for identities of AWS IAM. Its mount is its name. OpenBao lacks it."""

    kind: Literal["aws-login"]
    """The kind of entry."""


class AwsLoginRoleEntry(LoginEntry):
    """A login of AWS IAM identities; the role has the entry's name."""

    kind: Literal["aws-login-role"]
    """The kind of entry."""
    method: Line
    """The entry of kind aws-login."""
    principals: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The ARNs of the identities; a final * is any text."""


class DatabaseEntry(Model):
    """A connection of a database engine to a target of the catalogue, with the entry's name."""

    kind: Literal["database"]
    """The kind of entry."""
    target: Line
    """The target, of kind postgresql or mysql, with its address and admin credential."""
    mount: EngineMount = "database"
    """The mount of the engine."""
    roles: tuple[Line, ...] = ("*",)
    """The roles that may use it."""


class DatabaseRoleEntry(Model):
    """A role of a database engine, whose accounts expire by themselves, with the entry's name."""

    kind: Literal["database-role"]
    """The kind of entry."""
    connection: Line
    """The entry of kind database."""
    creation: Annotated[tuple[Statement, ...], Field(min_length=1)]
    """The statements that make an account."""
    revocation: tuple[Statement, ...] = ()
    """The statements that end an account; by default, the engine's own."""
    ttl: PositiveDuration = timedelta(hours=1)
    """The lifetime of an account before renewal."""
    max_ttl: PositiveDuration = timedelta(hours=24)
    """The maximum lifetime of an account."""


class AwsRoleEntry(Model):
    """A role of the AWS engine, whose credentials expire by themselves, with the entry's name. OpenBao lacks it."""

    kind: Literal["aws-role"]
    """The kind of entry."""
    mount: EngineMount = "aws"
    """The mount of the engine."""
    credential_type: Literal["iam_user", "assumed_role", "federation_token"]
    """The kind of its credentials, as the engine names it."""
    role_arns: tuple[RoleArn, ...] = ()
    """The IAM roles to assume."""
    policy_document: Statement | None = None
    """The IAM policy of its credentials, as JSON."""
    ttl: PositiveDuration = timedelta(hours=1)
    """The lifetime of credentials from the security token service."""


class RateLimitEntry(Model):
    """A limit on requests from one address to a path; the quota has the entry's name."""

    kind: Literal["rate-limit"]
    """The kind of entry."""
    path: Line
    """Its scope: a mount, such as auth/approle/, or a path in one."""
    rate: Annotated[float, Field(gt=0)]
    """The maximum number of requests in the interval."""
    interval: PositiveDuration = timedelta(seconds=1)
    """The interval of the rate."""
    block_interval: Duration = timedelta(0)
    """The time that an address is blocked after more requests."""


class NamespaceEntry(Model):
    """The namespace of this catalogue's objects, which VAULT_NAMESPACE names, with the entry's name."""

    kind: Literal["namespace"]
    """The kind of entry."""
    parent: Line | None = None
    """Its parent namespace; by default, the root namespace."""


class AuditHeaderEntry(Model):
    """A request header that the hub's audit log keeps, with the entry's name. Only in the root namespace."""

    kind: Literal["audit-header"]
    """The kind of entry."""
    hmac: bool = True
    """Whether the log keeps only an HMAC of it, not its text."""


class AuditDeviceEntry(Model):
    """A required audit device, which Keyturn does not make; its path is the entry's name."""

    kind: Literal["audit-device"]
    """The kind of entry."""
    type: Literal["file", "syslog", "socket", "http"]
    """The type of device."""


class EngineEntry(Model):
    """An engine that other objects need. Keyturn mounts it at the entry's name and does not configure it."""

    kind: Literal["engine"]
    """The kind of entry."""
    type: Literal["database", "pki", "transit", "ssh", "aws", "kv"]
    """The type of engine."""
    mount: EngineMount | None = None
    """Its mount, if it differs from the entry's name."""


HubEntry = Annotated[
    AppRoleEntry
    | JwtEntry
    | JwtRoleEntry
    | KubernetesEntry
    | KubernetesRoleEntry
    | OidcEntry
    | OidcRoleEntry
    | LdapEntry
    | GroupEntry
    | AwsLoginEntry
    | AwsLoginRoleEntry
    | DatabaseEntry
    | DatabaseRoleEntry
    | AwsRoleEntry
    | RateLimitEntry
    | NamespaceEntry
    | AuditHeaderEntry
    | AuditDeviceEntry
    | EngineEntry,
    ByTag("kind"),
]


def resource_of(name: str, entry: Any, entries: Mapping[str, Any]) -> HubResource | None:
    """The entry's object without fields; None for a mount, a method or a namespace."""
    match entry:
        case AppRoleEntry():
            return HubResource(Kind.APPROLE, name, mount=APPROLE)
        case JwtEntry() | KubernetesEntry() | OidcEntry() | LdapEntry():
            return HubResource(Kind(f"{entry.kind}-config"), "", mount=name)
        case JwtRoleEntry() | KubernetesRoleEntry() | OidcRoleEntry() | AwsLoginRoleEntry():
            return HubResource(Kind(entry.kind), name, mount=entry.method)
        case DatabaseEntry():
            return HubResource(Kind.DATABASE_CONNECTION, name, mount=entry.mount)
        case DatabaseRoleEntry():
            return HubResource(Kind.DATABASE_ROLE, name, mount=entries[entry.connection].mount)
        case AwsRoleEntry():
            return HubResource(Kind.AWS_ROLE, name, mount=entry.mount)
        case GroupEntry() | RateLimitEntry() | AuditHeaderEntry() | AuditDeviceEntry():
            return HubResource(Kind(entry.kind), name)
    return None


def bare_resources(entries: Mapping[str, Any]) -> Iterator[HubResource]:
    made = (resource_of(name, entry, entries) for name, entry in entries.items())
    yield from (resource for resource in made if resource is not None)


@dataclass(frozen=True)
class DatabaseRole:
    mount: str
    name: str
    connection: str
    target: str

    @property
    def credential(self) -> str:
        return f"{self.mount}/creds/{self.name}"


def database_roles(entries: Mapping[str, Any]) -> dict[str, DatabaseRole]:
    declared = (
        DatabaseRole(connection.mount, name, role.connection, connection.target)
        for name, role in entries.items()
        if isinstance(role, DatabaseRoleEntry) and isinstance(connection := entries.get(role.connection), DatabaseEntry)
    )
    return {role.credential: role for role in declared}
