"""What the section `hub:` declares: logins, engines' roles and limits, which `keyturn setup hub --apply` makes."""

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

LOGIN: Final = r"(worker|revoker|notary|monitor|numbers|planner|auditor|consumer:[A-Za-z0-9][A-Za-z0-9_-]{0,62})"
APPROLE: Final = "approle"
"""The mount of the one method of that kind."""
PERSON: Final = r"(worker|revoker|monitor|planner|auditor|requester|approver|viewer)"
VARIABLE: Final = r"KEYTURN_SETUP_[A-Z0-9_]+"
"""The variables whose content is written to the hub: so no line of a catalogue has another one sent anywhere."""
OWN: Final = ("worker", "revoker", "notary")
"""The logins that may replace their own secret ids, and so are bound to addresses."""

Login = Annotated[
    str,
    matching(
        LOGIN, "is no login", "Write worker, revoker, notary, monitor, numbers, planner, auditor or consumer:NAME."
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{LOGIN}$"}),
]
"""Whose work it is for: it gets the policies that are rendered for that, and no others."""

PersonLogin = Annotated[
    str,
    matching(
        PERSON,
        "is no login of people",
        "Write worker, revoker, monitor, planner, auditor, requester, approver or viewer.",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{PERSON}$"}),
]
"""What people may do: they get the policies that are rendered for that, and no others."""

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
    """The entry itself, where its secret lies in one place. Raises what pydantic collects."""
    if bool(file) == bool(variable):
        remedy = f"Say {key}_file, or {key}_variable."
        raise refused("its secret is read from one place", remedy, f"{key}_file")
    return entry


class LoginEntry(Model):
    """A role of an auth method: who may log in so, and whose rights that gives."""

    login: Login
    """Whose work it is for: worker, revoker, notary, monitor, numbers, planner, auditor or consumer:NAME."""
    token_ttl: PositiveDuration = timedelta(hours=1)
    """How long a token lives before it is renewed."""
    token_max_ttl: Duration = timedelta(0)
    """How long a token lives at most, however often it is renewed; without it, as long as the hub allows."""
    addresses: tuple[Network, ...] = ()
    """The networks that its tokens are used from; without them, any."""


class AppRoleEntry(LoginEntry):
    """An AppRole of the method `approle`: its own name is the role's."""

    kind: Literal["approle"]
    """What it is."""
    secret_id_ttl: PositiveDuration = timedelta(days=32)
    """How long a secret id lives."""
    secret_id_uses: Annotated[int, Field(ge=0)] = 0
    """How often a secret id may be used; 0 is as often as it is wanted."""

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if self.login in OWN and not self.addresses:
            message = f"a login of the {self.login} may replace its own secret id, and works from anywhere"
            raise refused(message, "Say the addresses that it is used from.", "addresses")
        return self


class JwtEntry(Model):
    """An auth method for tokens that another system signs, by OIDC discovery or by its keys; its name is its mount."""

    kind: Literal["jwt"]
    """What it is."""
    discovery_url: HttpsUrl | None = None
    """Where its OIDC discovery begins; this, or keys_url or public_keys. The hub asks there when it is set up."""
    keys_url: HttpsUrl | None = None
    """Where its public keys are (JWKS); this, or discovery_url or public_keys."""
    public_keys: tuple[Statement, ...] = ()
    """Its public keys themselves, in PEM; these, or discovery_url or keys_url."""
    issuer: Line | None = None
    """The issuer that its tokens have to name."""
    ca_certificate: Statement | None = None
    """The authority, in PEM, that these addresses are trusted by; without it, the hub's own."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.discovery_url, self.keys_url, self.public_keys))) != 1:
            remedy = "Say one of discovery_url, keys_url and public_keys."
            raise refused("its keys are found in one way", remedy, "discovery_url")
        return self


class JwtRoleEntry(LoginEntry):
    """Who may log in by a token of such a system; its own name is the role's."""

    kind: Literal["jwt-role"]
    """What it is."""
    method: Line
    """The entry of kind jwt."""
    audiences: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The audiences of which its tokens name one."""
    subject: Line | None = None
    """The subject that its tokens name."""
    claims: dict[Line, Line] = Field(default_factory=dict)
    """Other claims that its tokens have, and their values."""
    user_claim: Line = "sub"
    """The claim that tells who it is."""
    groups_claim: Line | None = None
    """The claim that tells which groups they are in, where it is people who log in so."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.subject is None and not self.claims:
            remedy = "Say the subject, or claims: else whoever has a token of that audience may log in."
            raise refused("it is for everybody", remedy, "subject")
        return self


class KubernetesEntry(Model):
    """The auth method for service accounts of a cluster; its name is its mount."""

    kind: Literal["kubernetes"]
    """What it is."""
    host: HttpsUrl
    """The address of the cluster's API."""
    ca_certificate: Statement | None = None
    """The authority, in PEM, that it is trusted by; without it, the one of the pod that the hub runs in."""


class KubernetesRoleEntry(LoginEntry):
    """Which service accounts may log in; its own name is the role's."""

    kind: Literal["kubernetes-role"]
    """What it is."""
    method: Line
    """The entry of kind kubernetes."""
    service_accounts: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Their names."""
    namespaces: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The namespaces that they are in."""
    audience: Line | None = None
    """The audience of their tokens."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if "*" in self.service_accounts and "*" in self.namespaces:
            raise refused("it is for everybody in the cluster", "Name service accounts, or namespaces.", "namespaces")
        return self


class PeopleEntry(Model):
    """How people's logins live, and what each of them may do, whichever groups they are in."""

    logins: tuple[PersonLogin, ...] = ()
    """What everybody may do who logs in so; without any, what their groups may do and nothing else."""
    token_ttl: PositiveDuration = timedelta(hours=1)
    """How long a token lives before it is renewed: so long does somebody have a group that they have left."""
    token_max_ttl: Duration = timedelta(0)
    """How long a token lives at most, however often it is renewed; without it, as long as the hub allows."""
    addresses: tuple[Network, ...] = ()
    """The networks that its tokens are used from; without them, any."""


class OidcEntry(Model):
    """The auth method for people of an OIDC provider, who log in with the browser; its name is its mount."""

    kind: Literal["oidc"]
    """What it is."""
    discovery_url: HttpsUrl
    """Where its OIDC discovery begins. The hub asks there when it is set up."""
    client_id: Line
    """What the hub is called at the provider."""
    client_secret_file: Line | None = None
    """The file of whoever applies that has the client's secret; this, or client_secret_variable."""
    client_secret_variable: Variable | None = None
    """The environment's variable, KEYTURN_SETUP_*, that has the client's secret; this, or client_secret_file."""
    default_role: Line | None = None
    """The entry of kind oidc-role that people log in by who name none."""
    ca_certificate: Statement | None = None
    """The authority, in PEM, that the provider is trusted by; without it, the hub's own."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        return in_one_place(self, self.client_secret_file, self.client_secret_variable, "client_secret")


class OidcRoleEntry(PeopleEntry):
    """How people of an OIDC provider log in; its own name is the role's."""

    kind: Literal["oidc-role"]
    """What it is."""
    method: Line
    """The entry of kind oidc."""
    allowed_redirect_uris: Annotated[tuple[Redirect, ...], Field(min_length=1)]
    """Where the provider may send the browser back to, such as http://localhost:8250/oidc/callback."""
    user_claim: Line = "sub"
    """The claim that tells who it is."""
    groups_claim: Line | None = None
    """The claim that tells which groups they are in."""
    scopes: tuple[Line, ...] = ()
    """What is asked of the provider besides openid, such as groups."""
    claims: dict[Line, Line] = Field(default_factory=dict)
    """Claims that have to be there, and their values."""
    claim_mappings: dict[Line, Line] = Field(default_factory=dict)
    """Claims that the hub keeps as the login's metadata, and what they are called there."""


class LdapEntry(PeopleEntry):
    """The auth method for people of a directory; its name is its mount. OpenBao has none in some packages."""

    kind: Literal["ldap"]
    """What it is."""
    url: LdapUrl
    """Its address, ldaps://HOST; ldap:// only with start_tls."""
    start_tls: bool = False
    """Whether a connection is begun in clear and goes on over TLS."""
    certificate: Statement | None = None
    """The authority, in PEM, that it is trusted by; without it, the hub's own."""
    user_dn: Line
    """Where its people are, such as ou=people,dc=example,dc=com."""
    user_attribute: Line = "cn"
    """Which attribute is their name at the login."""
    group_dn: Line | None = None
    """Where its groups are."""
    group_attribute: Line = "cn"
    """Which attribute is a group's name."""
    group_filter: Line | None = None
    """Which groups somebody is in, as a filter with {{.UserDN}} and {{.Username}}; without it, the hub's own."""
    bind_dn: Line
    """Whom the hub logs in as to look."""
    bind_password_file: Line | None = None
    """The file of whoever applies that has that one's password; this, or bind_password_variable."""
    bind_password_variable: Variable | None = None
    """The environment's variable, KEYTURN_SETUP_*, that has that one's password; this, or bind_password_file."""

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.url.startswith("ldap:") and not self.start_tls:
            raise refused("passwords would go there in clear", "Write ldaps://, or start_tls: true.", "url")
        return in_one_place(self, self.bind_password_file, self.bind_password_variable, "bind_password")


class GroupEntry(Model):
    """A group of people as their provider or directory has it, and what it may do; its own name is the hub's for it."""

    kind: Literal["group"]
    """What it is."""
    method: Line
    """The entry of kind oidc, ldap or jwt by which its people log in."""
    group: Line | None = None
    """What it is called there, where that is not its name."""
    logins: Annotated[tuple[PersonLogin, ...], Field(min_length=1)]
    """What its people may do: worker, revoker, monitor, planner, auditor, requester, approver."""


class AwsLoginEntry(Model):
    """The auth method for identities of AWS IAM; its name is its mount. OpenBao has none."""

    kind: Literal["aws-login"]
    """What it is."""


class AwsLoginRoleEntry(LoginEntry):
    """Which identities of AWS IAM may log in; its own name is the role's."""

    kind: Literal["aws-login-role"]
    """What it is."""
    method: Line
    """The entry of kind aws-login."""
    principals: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Their ARNs; * at the end stands for any rest."""


class DatabaseEntry(Model):
    """A connection of a database engine to a target of the catalogue; its own name is the connection's."""

    kind: Literal["database"]
    """What it is."""
    target: Line
    """The target, of kind postgresql or mysql: its address, and what it is administered with."""
    mount: EngineMount = "database"
    """Where the engine is mounted."""
    roles: tuple[Line, ...] = ("*",)
    """The roles that may use it."""


class DatabaseRoleEntry(Model):
    """A role of a database engine: accounts that end by themselves; its own name is the role's."""

    kind: Literal["database-role"]
    """What it is."""
    connection: Line
    """The entry of kind database."""
    creation: Annotated[tuple[Statement, ...], Field(min_length=1)]
    """The statements that make an account."""
    revocation: tuple[Statement, ...] = ()
    """The statements that end one; without any, what the engine does by itself."""
    ttl: PositiveDuration = timedelta(hours=1)
    """How long an account lives before it is renewed."""
    max_ttl: PositiveDuration = timedelta(hours=24)
    """How long an account lives at most."""


class AwsRoleEntry(Model):
    """A role of the AWS engine: credentials that end by themselves; its own name is the role's. OpenBao has none."""

    kind: Literal["aws-role"]
    """What it is."""
    mount: EngineMount = "aws"
    """Where the engine is mounted."""
    credential_type: Literal["iam_user", "assumed_role", "federation_token"]
    """What it makes, in the engine's words."""
    role_arns: tuple[RoleArn, ...] = ()
    """The IAM roles that may be assumed."""
    policy_document: Statement | None = None
    """The IAM policy of what it makes, as JSON."""
    ttl: PositiveDuration = timedelta(hours=1)
    """How long credentials of the security token service live."""


class RateLimitEntry(Model):
    """How many requests the hub takes for a path, from one address; its own name is the quota's."""

    kind: Literal["rate-limit"]
    """What it is."""
    path: Line
    """What it is about: a mount, such as auth/approle/, or a path in one."""
    rate: Annotated[float, Field(gt=0)]
    """How many requests it takes within the interval."""
    interval: PositiveDuration = timedelta(seconds=1)
    """The time that they are counted over."""
    block_interval: Duration = timedelta(0)
    """How long whoever asks for more is refused."""


class NamespaceEntry(Model):
    """The namespace that all of this is in, which VAULT_NAMESPACE names; its own name is the namespace's."""

    kind: Literal["namespace"]
    """What it is."""
    parent: Line | None = None
    """The namespace that it is in; without it, the root namespace."""


class AuditHeaderEntry(Model):
    """A header of requests that the hub's audit log keeps; its name is the header's. In the root namespace alone."""

    kind: Literal["audit-header"]
    """What it is."""
    hmac: bool = True
    """Whether the log has a digest of it alone, and not its text."""


class AuditDeviceEntry(Model):
    """An audit device that has to be there, which nobody makes from here; its own name is its path."""

    kind: Literal["audit-device"]
    """What it is."""
    type: Literal["file", "syslog", "socket", "http"]
    """Which kind of device."""


class EngineEntry(Model):
    """An engine that other things need; its own name is its mount. It is made, and not configured."""

    kind: Literal["engine"]
    """What it is."""
    type: Literal["database", "pki", "transit", "ssh", "aws", "kv"]
    """Which engine."""
    mount: EngineMount | None = None
    """Where it is mounted, where that is not its name."""


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
    """The thing that an entry makes in its mount, without its fields; None for a mount, a method or a namespace."""
    match entry:
        case AppRoleEntry():
            return HubResource(Kind.APPROLE, name, mount=APPROLE)
        case JwtEntry():
            return HubResource(Kind.JWT_CONFIG, "", mount=name)
        case JwtRoleEntry():
            return HubResource(Kind.JWT_ROLE, name, mount=entry.method)
        case KubernetesEntry():
            return HubResource(Kind.KUBERNETES_CONFIG, "", mount=name)
        case KubernetesRoleEntry():
            return HubResource(Kind.KUBERNETES_ROLE, name, mount=entry.method)
        case OidcEntry():
            return HubResource(Kind.OIDC_CONFIG, "", mount=name)
        case OidcRoleEntry():
            return HubResource(Kind.OIDC_ROLE, name, mount=entry.method)
        case LdapEntry():
            return HubResource(Kind.LDAP_CONFIG, "", mount=name)
        case GroupEntry():
            return HubResource(Kind.GROUP, name)
        case AwsLoginRoleEntry():
            return HubResource(Kind.AWS_LOGIN_ROLE, name, mount=entry.method)
        case DatabaseEntry():
            return HubResource(Kind.DATABASE_CONNECTION, name, mount=entry.mount)
        case DatabaseRoleEntry():
            return HubResource(Kind.DATABASE_ROLE, name, mount=entries[entry.connection].mount)
        case AwsRoleEntry():
            return HubResource(Kind.AWS_ROLE, name, mount=entry.mount)
        case RateLimitEntry():
            return HubResource(Kind.RATE_LIMIT, name)
        case AuditHeaderEntry():
            return HubResource(Kind.AUDIT_HEADER, name)
        case AuditDeviceEntry():
            return HubResource(Kind.AUDIT_DEVICE, name)
    return None


def bare_resources(entries: Mapping[str, Any]) -> Iterator[HubResource]:
    """What all of them make in mounts and methods, without fields."""
    made = (resource_of(name, entry, entries) for name, entry in entries.items())
    yield from (resource for resource in made if resource is not None)


@dataclass(frozen=True)
class DatabaseRole:
    """A role of a database engine, the connection that makes its accounts, and the target that they are for."""

    mount: str
    name: str
    connection: str
    target: str

    @property
    def credential(self) -> str:
        """Where the hub makes its credentials."""
        return f"{self.mount}/creds/{self.name}"


def database_roles(entries: Mapping[str, Any]) -> dict[str, DatabaseRole]:
    """The roles that a section `hub:` declares, by where the hub makes their credentials."""
    declared = (
        DatabaseRole(connection.mount, name, role.connection, connection.target)
        for name, role in entries.items()
        if isinstance(role, DatabaseRoleEntry) and isinstance(connection := entries.get(role.connection), DatabaseEntry)
    )
    return {role.credential: role for role in declared}
