"""Settings of targets, which accept the credentials: one model for each kind."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.operator.policy import VARIABLE, OperatorsPolicy
from keyturn.catalogue.stores.aws import Region, RoleArn
from keyturn.catalogue.stores.gcp import LoopbackAddress, Project
from keyturn.core.errors import Invalid
from keyturn.core.rights import aws_rights, azure_rights, gcp_rights
from keyturn.core.rights.rights import AccountRights, Document
from keyturn.core.text import templates
from keyturn.settings.api_address import ApiAddress
from keyturn.settings.choices import ByTag
from keyturn.settings.fields import (
    HttpsUrl,
    HubPath,
    Line,
    Model,
    WebUrl,
    keep_plain_http_at_home,
    matching,
    refused,
)
from keyturn.settings.requests import ShortName
from keyturn.settings.stores import Accounts, System

Port = Annotated[int, Field(ge=1, le=65_535)]


class TargetBase(Model):
    ASKS: ClassVar[str] = ""
    """The function that reads the current login's rights, as MODULE:FUNCTION; empty if there is none."""

    @property
    def server(self) -> str:
        return ""

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        """The documents with the rights to make and end credentials of these accounts; empty if it has an admin."""
        return iter(())

    def from_operator(self, policy: OperatorsPolicy) -> Mapping[str, Any]:
        """The adapter's arguments that the operator's file gives. Raises Invalid where it lacks them."""
        return {}


class PostgresqlSettings(TargetBase):
    """A PostgreSQL server whose roles' passwords are rotated."""

    kind: Literal["postgresql"]
    """The kind of target."""
    host: Line
    """The server's host name or address."""
    port: Port = 5432
    """The server's port."""
    database: Line
    """The database for the login."""
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """The TLS mode, in libpq's terms. By default verify-full, the safe one; on loopback prefer."""
    ca_file: Line | None = None
    """A PEM file with the CA of the server's certificate; by default, public CAs."""
    admin: HubPath
    """The path in the hub's state mount with the username and password of the role that may alter others."""

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def system(self) -> System:
        return (self.kind, self.host.casefold(), str(self.port))


class MysqlSettings(TargetBase):
    """A MySQL (8.0 or newer) or MariaDB (10.6 or newer) server whose users' passwords are rotated."""

    kind: Literal["mysql"]
    """The kind of target."""
    host: Line
    """The server's host name or address."""
    port: Port = 3306
    """The server's port."""
    database: Line
    """The database for the login."""
    tls: Literal["disable", "require", "verify"] = "verify"
    """The TLS mode: none, without verification, or with verification."""
    ca_file: Line | None = None
    """A PEM file with the CA of the server's certificate."""
    admin: HubPath
    """The path in the hub's state mount with the username and password of the user that may alter others."""

    @property
    def server(self) -> str:
        return f"[{self.host}]:{self.port}/" if ":" in self.host else f"{self.host}:{self.port}/"

    @property
    def system(self) -> System:
        return (self.kind, self.host.casefold(), str(self.port))


def _redis_node(text: str) -> str:
    host, _, port = text.rpartition(":")
    legal = re.fullmatch(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host) and port.isdecimal() and port.isascii()
    if not legal or not 0 < int(port) <= 65_535:
        raise refused("is not host:port", "Write redis-2.example.com:6379.")
    return text


RedisNode = Annotated[str, AfterValidator(_redis_node), WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})]


class RedisSettings(TargetBase):
    """A Redis (6.2 or newer) or Valkey whose ACL users' passwords are rotated: one server, or several nodes."""

    kind: Literal["redis"]
    """The kind of target."""
    host: Line
    """The server's host name or address."""
    port: Port = 6379
    """The server's port."""
    nodes: tuple[RedisNode, ...] = ()
    """Every other node that may replace it, as host:port: replicas and cluster nodes. Redis does not copy users to
    them, so each is changed."""
    tls: bool = True
    """Whether to use TLS; false sends passwords unencrypted."""
    ca_file: Line | None = None
    """A PEM file with the CA of the server's certificate."""
    admin: HubPath
    """The path in the hub's state mount with the username and password of the user that may alter others."""

    @model_validator(mode="after")
    def _nodes_named_once(self) -> Self:
        named = [node.casefold() for node in (f"{self.host}:{self.port}", f"[{self.host}]:{self.port}", *self.nodes)]
        if len(set(named)) < len(named):
            raise refused("a node is named twice", "Name each once, and host and port not again.", "nodes")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.host.casefold(), str(self.port))


def _names_account(dn: str) -> str:
    if templates.names(dn) != ("account",):
        raise refused("does not hold {{account}} once, and nothing else", "Write cn={{account}},ou=apps,dc=example.")
    return dn


LOGIN_ATTRIBUTES: Final = frozenset(
    {"userpassword", "unicodepwd", "useraccountcontrol", "memberof", "member", "objectclass", "altsecurityidentities"}
)
"""What lets accounts in: a mark among the values of userPassword would be a password."""


def _takes_a_mark(attribute: str) -> str:
    if attribute.casefold() in LOGIN_ATTRIBUTES:
        raise refused("this attribute decides who may log in, and as what", "Name one of text, such as description.")
    return attribute


class LdapSettings(TargetBase):
    """A directory whose accounts' passwords are rotated: OpenLDAP, 389 Directory Server, Active Directory."""

    kind: Literal["ldap"]
    """The kind of target."""
    WORDS: ClassVar = frozenset({"directory"})
    """Keys that hold a word, where other entries' keys of that name hold a file or directory."""

    directory: Literal["openldap", "active-directory"] = "openldap"
    """How passwords are kept: in userPassword, with several at once, or in Active Directory's unicodePwd."""
    host: Line
    """The server's host name or address; in Active Directory, a domain controller that can be written to."""
    port: Port | None = None
    """The server's port; by default 636, or 389 without ldaps."""
    tls: Literal["ldaps", "starttls", "disable"] = "ldaps"
    """The TLS mode. Active Directory changes no password without TLS."""
    ca_file: Line | None = None
    """A PEM file with the CA of the server's certificate; by default, public CAs."""
    account_dn: Annotated[Line, AfterValidator(_names_account)]
    """The distinguished name of an account, with {{account}}, such as uid={{account}},ou=apps,dc=example,dc=com."""
    mark: Annotated[
        str, matching(r"[A-Za-z][A-Za-z0-9-]*", "is no attribute", "Name one."), AfterValidator(_takes_a_mark)
    ] = "description"
    """The attribute of an account that takes the number of the last rotation, among other values."""
    admin: HubPath
    """The path in the hub's state mount with Keyturn's own login: username, a distinguished name, and password."""

    @model_validator(mode="after")
    def _tls_where_needed(self) -> Self:
        if self.directory == "active-directory" and self.tls == "disable":
            raise refused("Active Directory changes no password without TLS", "Use ldaps or starttls.", "tls")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.host.casefold(), str(self.port or ""), self.account_dn.casefold())


class AwsIamSettings(TargetBase):
    """AWS IAM, in one account. Credentials come from AWS's usual chain."""

    kind: Literal["aws-iam"]
    """The kind of target."""
    region: Region = "us-east-1"
    """The region for the login; IAM itself has none."""
    endpoint_url: WebUrl | None = None
    """A custom AWS address, such as an emulator; plain http only on loopback."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to work in its account."""
    profile: Line | None = None
    """The profile in AWS's configuration files that has the credentials."""

    @model_validator(mode="after")
    def _keep_keys_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        return self

    @property
    def accounts(self) -> Accounts:
        return {("role_arn",): self.role_arn.split(":")[4]} if self.role_arn else {}

    ASKS = "keyturn.providers.aws.rights:ask_iam"

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        return aws_rights.of_iam(accounts, region=self.region, role_arn=self.role_arn)

    @property
    def system(self) -> System:
        account = self.role_arn.split(":")[4] if self.role_arn else self.profile or ""
        return (self.kind, account, (self.endpoint_url or "").rstrip("/").casefold())


class MicrosoftGraphSettings(TargetBase):
    """Microsoft Graph, for secrets of applications. Credentials come from Azure's default chain."""

    kind: Literal["microsoft-graph"]
    """The kind of target."""
    endpoint: HttpsUrl = "https://graph.microsoft.com"
    """Its address; others are for national clouds and emulators."""
    tenant: Line | None = None
    """The directory's id or domain for tests of new secrets; by default, the environment's AZURE_TENANT_ID."""
    authority: HttpsUrl | None = None
    """The login address, if not https://login.microsoftonline.com."""
    ca_file: Line | None = None
    """A PEM file with the CA of the certificate, if it is not a public CA."""

    @property
    def accounts(self) -> Accounts:
        return {("tenant",): self.tenant} if self.tenant else {}

    @property
    def system(self) -> System:
        parts = (self.endpoint.rstrip("/"), (self.authority or "").rstrip("/"), self.tenant or "")
        return (self.kind, *(part.casefold() for part in parts))


class AzureResourceManagerSettings(TargetBase):
    """Azure Resource Manager, for keys of storage accounts. Credentials come from Azure's default chain."""

    kind: Literal["azure-resource-manager"]
    """The kind of target."""
    subscription: Line
    """The subscription's id."""
    endpoint: HttpsUrl = "https://management.azure.com"
    """Its address; others are for national clouds and emulators."""
    authority: HttpsUrl | None = None
    """The login address, if not https://login.microsoftonline.com."""
    ca_file: Line | None = None
    """A PEM file with the CA of the certificate, if it is not a public CA."""

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        return azure_rights.storage_key_roles(self.subscription, accounts)

    @property
    def accounts(self) -> Accounts:
        return {("subscription",): self.subscription}

    @property
    def system(self) -> System:
        return (self.kind, self.endpoint.rstrip("/").casefold(), self.subscription.casefold())


class GcpIamSettings(TargetBase):
    """Google Cloud IAM, for keys of service accounts. Credentials are Google's application default ones."""

    kind: Literal["gcp-iam"]
    """The kind of target."""
    project: Project
    """The project's id or number."""
    endpoint: LoopbackAddress | None = None
    """An emulator on this machine, as host:port, without encryption or credentials."""

    ASKS = "keyturn.providers.gcp.rights:ask_service_accounts"

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        return gcp_rights.key_role(self.project, accounts)

    @property
    def accounts(self) -> Accounts:
        return {("project",): self.project}

    @property
    def system(self) -> System:
        return (self.kind, self.project, (self.endpoint or "").casefold())


class HttpApiSettings(ApiAddress, TargetBase):
    """A REST API that makes, tests and deletes a credential."""

    kind: Literal["http-api"]
    """The kind of target."""
    admin: HubPath
    """The path in the hub's state mount with fields for the request templates, such as an admin token."""
    test_url: WebUrl | None = None
    """The address of requests that try a new key, if it is another than url; https, except on this machine."""

    @model_validator(mode="after")
    def _keys_stay_at_home(self) -> Self:
        if self.test_url is not None:
            remedy = "Use https: this address gets a credential."
            keep_plain_http_at_home(self.test_url, False, remedy, "test_url")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.url.rstrip("/").casefold())


class CredentialFileTargetSettings(TargetBase):
    """A file of this machine whose lines are accounts of a server: Mosquitto, NATS, htpasswd, TSIG, Linux."""

    kind: Literal["credential-file"]
    """The kind of target."""
    file: ShortName
    """The file's name under `credential_files` in the operator's file, which says where it is and how to reload."""
    sessions: Literal["kept", "ended"] = "kept"
    """What the server does with open sessions when it has read a new password."""

    @property
    def system(self) -> System:
        return (self.kind, self.file)

    def from_operator(self, policy: OperatorsPolicy) -> Mapping[str, Any]:
        if self.file not in policy.credential_files:
            hint = f"Let the operator's file describe it under credential_files ({VARIABLE})"
            raise Invalid("open", self.file, "the operator's file has no credential file of this name", hint)
        return {"place": policy.credential_files[self.file]}


TargetSettings = Annotated[
    PostgresqlSettings
    | MysqlSettings
    | RedisSettings
    | LdapSettings
    | AwsIamSettings
    | MicrosoftGraphSettings
    | AzureResourceManagerSettings
    | GcpIamSettings
    | HttpApiSettings
    | CredentialFileTargetSettings,
    ByTag("kind"),
]
