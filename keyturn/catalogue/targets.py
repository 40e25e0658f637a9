"""The targets that honour credentials: one model for each kind, told apart by ``kind``."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.stores.aws import Region, RoleArn
from keyturn.catalogue.stores.gcp import LoopbackAddress, Project
from keyturn.core.rights import aws_rights, azure_rights, gcp_rights
from keyturn.core.rights.rights import AccountRights, Document
from keyturn.core.text import templates
from keyturn.settings.choices import ByTag
from keyturn.settings.fields import (
    HttpsUrl,
    HubPath,
    Line,
    Model,
    PositiveDuration,
    WebUrl,
    keep_plain_http_at_home,
    refused,
)
from keyturn.settings.requests import Headers
from keyturn.settings.stores import Accounts, System

Port = Annotated[int, Field(ge=1, le=65_535)]


def _of_the_admin(headers: dict[str, str]) -> dict[str, str]:
    for header, text in headers.items():
        for name in templates.names(text):
            if not name.startswith("admin."):
                message = f"the header {header} asks for {{{{{name}}}}}, which is not known there"
                raise refused(message, "Write {{admin.FIELD}}, a field at the target's admin path.")
    return headers


class TargetBase(Model):
    """What honours credentials."""

    ASKS: ClassVar[str] = ""
    """What asks it which rights the login in use has, as MODULE:FUNCTION; empty where nobody can be asked."""

    @property
    def server(self) -> str:
        """Where an engine of the hub connects to; empty where none does."""
        return ""

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        """The documents that let a login make and end credentials of these accounts; none where it has an admin."""
        return iter(())


class PostgresqlSettings(TargetBase):
    """A PostgreSQL server whose roles' passwords are rotated."""

    kind: Literal["postgresql"]
    """Which target this is."""
    host: Line
    """The server's host name or address."""
    port: Port = 5432
    """The server's port."""
    database: Line
    """The database to log in to."""
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """How far TLS is insisted on, in libpq's words. Without it verify-full, the safe one; on loopback prefer."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the server's certificate; without it, the public authorities."""
    admin: HubPath
    """The path in the hub's state mount that holds username and password of the role that may alter others."""

    @property
    def server(self) -> str:
        """Where the hub's engine connects to, as HOST:PORT/DATABASE."""
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def system(self) -> System:
        """The server: roles belong to all of its databases."""
        return (self.kind, self.host.casefold(), str(self.port))


class MysqlSettings(TargetBase):
    """A MySQL (8.0 or newer) or MariaDB (10.6 or newer) server whose users' passwords are rotated."""

    kind: Literal["mysql"]
    """Which target this is."""
    host: Line
    """The server's host name or address."""
    port: Port = 3306
    """The server's port."""
    database: Line
    """The database to log in to."""
    tls: Literal["disable", "require", "verify"] = "verify"
    """How far TLS is insisted on: not at all, without checking whom it reaches, or checked."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the server's certificate."""
    admin: HubPath
    """The path in the hub's state mount that holds username and password of the user that may alter others."""

    @property
    def server(self) -> str:
        """Where the hub's engine connects to, as HOST:PORT/: without a database."""
        return f"[{self.host}]:{self.port}/" if ":" in self.host else f"{self.host}:{self.port}/"

    @property
    def system(self) -> System:
        """The server: users belong to all of its databases."""
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
    """Which target this is."""
    host: Line
    """The server's host name or address."""
    port: Port = 6379
    """The server's port."""
    nodes: tuple[RedisNode, ...] = ()
    """Every other node that may take its place, as host:port: replicas, and the nodes of a cluster. Redis copies
    users to none of them, so each is changed."""
    tls: bool = True
    """Whether to speak TLS; false sends passwords in clear."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the server's certificate."""
    admin: HubPath
    """The path in the hub's state mount that holds username and password of the user that may alter others."""

    @model_validator(mode="after")
    def _nodes_named_once(self) -> Self:
        named = [node.casefold() for node in (f"{self.host}:{self.port}", f"[{self.host}]:{self.port}", *self.nodes)]
        if len(set(named)) < len(named):
            raise refused("a node is named twice", "Name each once, and host and port not again.", "nodes")
        return self

    @property
    def system(self) -> System:
        """The server."""
        return (self.kind, self.host.casefold(), str(self.port))


class AwsIamSettings(TargetBase):
    """AWS IAM, in one account. Credentials come from AWS's usual chain."""

    kind: Literal["aws-iam"]
    """Which target this is."""
    region: Region = "us-east-1"
    """Where to sign in; IAM itself belongs to no region."""
    endpoint_url: WebUrl | None = None
    """Another address than AWS's own: an emulator. Plain http is for loopback alone."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to work in its account."""
    profile: Line | None = None
    """The profile in AWS's configuration files to take credentials from."""

    @model_validator(mode="after")
    def _keep_keys_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        return self

    @property
    def accounts(self) -> Accounts:
        """That of the role."""
        return {("role_arn",): self.role_arn.split(":")[4]} if self.role_arn else {}

    ASKS = "keyturn.providers.aws.rights:ask_iam"

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        """IAM policies, for every day and for emergencies."""
        return aws_rights.of_iam(accounts, region=self.region, role_arn=self.role_arn)

    @property
    def system(self) -> System:
        """The account as far as it is told here, and the address."""
        account = self.role_arn.split(":")[4] if self.role_arn else self.profile or ""
        return (self.kind, account, (self.endpoint_url or "").rstrip("/").casefold())


class MicrosoftGraphSettings(TargetBase):
    """Microsoft Graph, for the secrets of applications. Credentials come from Azure's default chain."""

    kind: Literal["microsoft-graph"]
    """Which target this is."""
    endpoint: HttpsUrl = "https://graph.microsoft.com"
    """Its address; others are for national clouds and emulators."""
    tenant: Line | None = None
    """The directory's id or domain, where new secrets are tried; by default the environment's AZURE_TENANT_ID."""
    authority: HttpsUrl | None = None
    """Another address for logging in than https://login.microsoftonline.com."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the certificate, where it is not a public one."""

    @property
    def accounts(self) -> Accounts:
        """The tenant."""
        return {("tenant",): self.tenant} if self.tenant else {}

    @property
    def system(self) -> System:
        """The directory, as far as it is told here."""
        parts = (self.endpoint.rstrip("/"), (self.authority or "").rstrip("/"), self.tenant or "")
        return (self.kind, *(part.casefold() for part in parts))


class AzureResourceManagerSettings(TargetBase):
    """Azure Resource Manager, for the keys of storage accounts. Credentials come from Azure's default chain."""

    kind: Literal["azure-resource-manager"]
    """Which target this is."""
    subscription: Line
    """The subscription's id."""
    endpoint: HttpsUrl = "https://management.azure.com"
    """Its address; others are for national clouds and emulators."""
    authority: HttpsUrl | None = None
    """Another address for logging in than https://login.microsoftonline.com."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the certificate, where it is not a public one."""

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        """A role definition, and where it is assigned."""
        return azure_rights.storage_key_roles(self.subscription, accounts)

    @property
    def accounts(self) -> Accounts:
        """The subscription."""
        return {("subscription",): self.subscription}

    @property
    def system(self) -> System:
        """The subscription."""
        return (self.kind, self.endpoint.rstrip("/").casefold(), self.subscription.casefold())


class GcpIamSettings(TargetBase):
    """Google Cloud IAM, for the keys of service accounts. Credentials are Google's application default ones."""

    kind: Literal["gcp-iam"]
    """Which target this is."""
    project: Project
    """The project's id or number."""
    endpoint: LoopbackAddress | None = None
    """An emulator on this machine, as host:port: spoken to without encryption and credentials."""

    ASKS = "keyturn.providers.gcp.rights:ask_service_accounts"

    def rights(self, accounts: AccountRights) -> Iterator[Document]:
        """Custom roles."""
        return gcp_rights.key_role(self.project, accounts)

    @property
    def accounts(self) -> Accounts:
        """The project."""
        return {("project",): self.project}

    @property
    def system(self) -> System:
        """The project, and the address."""
        return (self.kind, self.project, (self.endpoint or "").casefold())


class HttpApiSettings(TargetBase):
    """Any REST API that makes, tries and deletes a credential."""

    kind: Literal["http-api"]
    """Which target this is."""
    url: WebUrl
    """The API's address; plain http is allowed on loopback only, unless insecure_http is true."""
    admin: HubPath
    """The path in the hub's state mount whose fields the request templates may use, such as an admin token."""
    headers: Annotated[Headers, AfterValidator(_of_the_admin)] = Field(default_factory=dict)
    """Headers of every request that is made as admin, such as authorization: "Bearer {{admin.token}}"."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the certificate, where it is not a public one."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """How long to wait for a connection, and for each part of an answer."""
    insecure_http: bool = False
    """Allow plain http to another machine, on which anybody between can read the keys."""

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or say insecure_http: true if nobody between may be there."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        return self

    @property
    def admin_fields(self) -> frozenset[str]:
        """The fields that the admin credential must have for these headers."""
        names = {name for text in self.headers.values() for name in templates.names(text)}
        return frozenset(name.removeprefix("admin.") for name in names)

    @property
    def system(self) -> System:
        """The address."""
        return (self.kind, self.url.rstrip("/").casefold())


TargetSettings = Annotated[
    PostgresqlSettings
    | MysqlSettings
    | RedisSettings
    | AwsIamSettings
    | MicrosoftGraphSettings
    | AzureResourceManagerSettings
    | GcpIamSettings
    | HttpApiSettings,
    ByTag("kind"),
]
