"""The audit logs of clouds, which tell who has read copies in their stores."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.catalogue.stores.aws import Region, RoleArn
from keyturn.core.rights import aws_rights
from keyturn.core.rights.rights import Document
from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line, PositiveDuration, WebUrl, keep_plain_http_at_home, matching
from keyturn.settings.stores import Accounts

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"

BucketName = Annotated[
    str,
    matching(BUCKET, "is no name of a bucket", "Write its name alone, such as example-trail."),
    WithJsonSchema({"type": "string", "pattern": f"^{BUCKET}$"}),
]


class _Files(AccessLogBase):
    pace: PositiveDuration = timedelta(seconds=30)
    """How long to wait where there was nothing more to read."""
    directory: Line
    """Where the log's files are brought to, in any folders below it."""


class CloudTrailFilesSettings(_Files):
    """What CloudTrail of AWS delivers, on this machine: reads of secrets, of parameters, and with their keys."""

    kind: Literal["cloudtrail-files"]
    """Which log it is."""

    ADAPTER = "keyturn.access_log.sources.cloudtrail:open_trail_files"


class CloudTrailBucketSettings(AccessLogBase):
    """What CloudTrail of AWS delivers to a bucket: reads of secrets, of parameters, and with their keys."""

    kind: Literal["cloudtrail-bucket"]
    """Which log it is."""
    pace: PositiveDuration = timedelta(seconds=60)
    """How long to wait where there was nothing more to read; AWS delivers about every five minutes."""
    bucket: BucketName
    """The bucket that the trail delivers to."""
    prefix: Line
    """What the keys of one region begin with, such as AWSLogs/111122223333/CloudTrail/eu-central-1/."""
    region: Region
    """The code of the region that the bucket is in."""
    endpoint_url: WebUrl | None = None
    """Another address than AWS's own: a VPC endpoint or an emulator. Plain http is for loopback alone."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to read there."""
    profile: Line | None = None
    """The profile in AWS's configuration files to take credentials from."""

    ADAPTER = "keyturn.providers.aws.log_bucket:open_bucket"
    EXTRA = "aws"

    @model_validator(mode="after")
    def _keep_reads_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        return self

    @property
    def accounts(self) -> Accounts:
        """That of the role."""
        return {("role_arn",): self.role_arn.split(":")[4]} if self.role_arn else {}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """The IAM policy of whoever reads there."""
        return aws_rights.of_log_bucket(self.bucket, self.prefix, self.region, file, origin)


class AzureAuditFilesSettings(_Files):
    """The category AuditEvent of Azure Key Vault, on this machine: reads of secrets."""

    kind: Literal["azure-audit-files"]
    """Which log it is."""

    ADAPTER = "keyturn.access_log.sources.azure_audit:open_azure_files"


class GcpAuditFilesSettings(_Files):
    """The Data Access audit log of GCP Secret Manager, on this machine: reads of secrets."""

    kind: Literal["gcp-audit-files"]
    """Which log it is."""

    ADAPTER = "keyturn.access_log.sources.gcp_audit:open_gcp_files"
