"""The stores that secrets are pushed to, and the consumers to tell."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.settings.fields import (
    HttpsUrl,
    HubPath,
    Line,
    Model,
    PositiveDuration,
    WebUrl,
    is_loopback,
    keep_plain_http_at_home,
    matching,
    refused,
)

Region = Annotated[
    str,
    matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", "is not an AWS region", "Write its code, such as eu-central-1."),
    WithJsonSchema({"type": "string", "examples": ["eu-central-1"]}),
]
RoleArn = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+",
        "is not the ARN of an IAM role",
        "Write arn:aws:iam::ACCOUNT:role/NAME.",
    ),
    WithJsonSchema({"type": "string", "pattern": "^arn:aws[a-z-]*:iam::[0-9]{12}:role/"}),
]
Project = Annotated[
    str,
    matching(r"[a-z0-9][a-z0-9.:-]*", "is not a GCP project", "Write the project's id or number."),
    WithJsonSchema({"type": "string", "examples": ["my-project"]}),
]


def _loopback_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) <= 65_535 or not is_loopback(host.strip("[]")):
        raise refused(
            "is not host:port of this machine", "Leave it out for Google Cloud; for an emulator: 127.0.0.1:PORT."
        )
    return address


LoopbackAddress = Annotated[
    str, AfterValidator(_loopback_address), WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
]
System = tuple[str, ...]
"""What tells one remote system from another: two entries with the same one are the same system."""


class AwsSecretsManagerSettings(Model):
    """AWS Secrets Manager, in one region of one account. Credentials come from AWS's usual chain."""

    kind: Literal["aws-secrets-manager"]
    """Which store this is."""
    region: Region
    """The region's code, such as eu-central-1."""
    endpoint_url: WebUrl | None = None
    """Another address than AWS's own: a VPC endpoint or an emulator."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to work in its account."""
    profile: Line | None = None
    """The profile in AWS's configuration files to take credentials from."""
    kms_key_id: Line | None = None
    """The KMS key that new secrets are encrypted with: its id, ARN or alias. Without it, aws/secretsmanager."""

    @property
    def system(self) -> System:
        """Region, account as far as it is told here, and address."""
        account = self.role_arn.split(":")[4] if self.role_arn else self.profile or ""
        return (self.kind, self.region, account, (self.endpoint_url or "").rstrip("/").casefold())


class AzureKeyVaultSettings(Model):
    """One Azure Key Vault. Credentials come from Azure's default chain."""

    kind: Literal["azure-key-vault"]
    """Which store this is."""
    vault_url: HttpsUrl
    """The vault's address: https://NAME.vault.azure.net."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the vault's certificate, where it is not a public one."""
    authority: HttpsUrl | None = None
    """Another address for logging in than https://login.microsoftonline.com."""

    @property
    def system(self) -> System:
        """The vault."""
        return (self.kind, self.vault_url.rstrip("/").casefold())


class GcpSecretManagerSettings(Model):
    """Google Cloud Secret Manager, in one project. Credentials are Google's application default ones."""

    kind: Literal["gcp-secret-manager"]
    """Which store this is."""
    project: Project
    """The project's id or number."""
    endpoint: LoopbackAddress | None = None
    """An emulator on this machine, as host:port: spoken to without encryption and credentials."""

    @property
    def system(self) -> System:
        """The project, and the address."""
        return (self.kind, self.project, (self.endpoint or "").casefold())


StoreSettings = Annotated[
    AwsSecretsManagerSettings | AzureKeyVaultSettings | GcpSecretManagerSettings, Field(discriminator="kind")
]


class ConsumerSettings(Model):
    """An application that is told when a secret of its own changes."""

    url: WebUrl
    """The application's address; plain http is allowed on loopback only, unless insecure_http is true."""
    signing_key: HubPath
    """The path in the hub's state mount whose field `key` signs the messages."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """How long to wait for its answer."""
    insecure_http: bool = False
    """Allow plain http to another machine: messages hold no value, yet anybody between can read and drop them."""

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or say insecure_http: true if the network between is trusted."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        return self
