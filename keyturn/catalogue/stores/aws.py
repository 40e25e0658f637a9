"""The stores of AWS."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

from keyturn.catalogue.stores.base import StoreBase, System
from keyturn.core.names import Limits
from keyturn.settings.fields import Duration, Line, WebUrl, matching, refused

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


def _window(window: timedelta) -> timedelta:
    if not timedelta(days=7) <= window <= timedelta(days=30) or window % timedelta(days=1):
        raise refused("is no recovery window of Secrets Manager", "Write 7d to 30d.")
    return window


RecoveryWindow = Annotated[Duration, AfterValidator(_window)]


class AwsSettings(StoreBase):
    """One region of one account of AWS. Credentials come from AWS's usual chain."""

    region: Region
    """The region's code, such as eu-central-1."""
    endpoint_url: WebUrl | None = None
    """Another address than AWS's own: a VPC endpoint or an emulator."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to work in its account."""
    profile: Line | None = None
    """The profile in AWS's configuration files to take credentials from."""

    @property
    def system(self) -> System:
        """Service, region, account as far as it is told here, and address."""
        account = self.role_arn.split(":")[4] if self.role_arn else self.profile or ""
        return (str(getattr(self, "kind", "")), self.region, account, (self.endpoint_url or "").rstrip("/").casefold())


class AwsSecretsManagerSettings(AwsSettings):
    """AWS Secrets Manager, in one region of one account. Credentials come from AWS's usual chain."""

    kind: Literal["aws-secrets-manager"]
    """Which store this is."""
    kms_key_id: Line | None = None
    """The KMS key that new secrets are encrypted with: its id, ARN or alias. Without it, aws/secretsmanager."""
    replicas: tuple[Region, ...] = ()
    """Other regions that AWS keeps a copy of every secret in."""
    recovery_window: RecoveryWindow = timedelta(days=30)
    """How long AWS can restore what was deleted: 7 to 30 days."""


class AwsParameterStoreSettings(AwsSettings):
    """Parameter Store of AWS Systems Manager, in one region of one account."""

    kind: Literal["aws-parameter-store"]
    """Which store this is."""
    type: Literal["SecureString", "String"] = "SecureString"
    """SecureString is encrypted, String is not."""
    kms_key_id: Line | None = None
    """The KMS key of a SecureString: its id, ARN or alias. Without it, aws/ssm."""
    tier: Literal["Standard", "Advanced", "Intelligent-Tiering"] = "Standard"
    """Standard takes 4 KB a value, Advanced 8 KB for a charge."""

    @property
    def limits(self) -> Limits:
        """Names as everywhere in Parameter Store; sizes by the tier."""
        return super().limits if self.tier != "Standard" else replace(super().limits, max_bytes=4_096)
