"""Audit logs of clouds, which record reads of copies in their stores."""

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
    """The time to wait when there is nothing more to read."""
    directory: Line
    """The directory of the log's files, with its subdirectories."""


class CloudTrailFilesSettings(_Files):
    """CloudTrail files of AWS on this machine: reads of secrets and parameters, and uses of their keys."""

    kind: Literal["cloudtrail-files"]
    """The kind of access log."""

    ADAPTER = "keyturn.access_log.sources.cloudtrail:open_trail_files"


class CloudTrailBucketSettings(AccessLogBase):
    """A bucket with CloudTrail files of AWS: reads of secrets and parameters, and uses of their keys."""

    kind: Literal["cloudtrail-bucket"]
    """The kind of access log."""
    pace: PositiveDuration = timedelta(seconds=60)
    """The time to wait when there is nothing more to read; AWS delivers about every five minutes."""
    bucket: BucketName
    """The bucket of the trail."""
    prefix: Line
    """The common prefix of the keys of one region, such as AWSLogs/111122223333/CloudTrail/eu-central-1/."""
    region: Region
    """The code of the bucket's region."""
    endpoint_url: WebUrl | None = None
    """A custom AWS address, such as a VPC endpoint or an emulator; plain http only on loopback."""
    role_arn: RoleArn | None = None
    """The IAM role to assume for reading."""
    profile: Line | None = None
    """The profile in AWS's configuration files that has the credentials."""

    ADAPTER = "keyturn.providers.aws.log_bucket:open_bucket"
    EXTRA = "aws"

    @model_validator(mode="after")
    def _keep_reads_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        return self

    @property
    def accounts(self) -> Accounts:
        return {("role_arn",): self.role_arn.split(":")[4]} if self.role_arn else {}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        return aws_rights.of_log_bucket(self.bucket, self.prefix, self.region, file, origin)


class AzureAuditFilesSettings(_Files):
    """Files of Azure Key Vault's category AuditEvent on this machine: reads of secrets."""

    kind: Literal["azure-audit-files"]
    """The kind of access log."""

    ADAPTER = "keyturn.access_log.sources.azure_audit:open_azure_files"


class GcpAuditFilesSettings(_Files):
    """Files of GCP Secret Manager's Data Access audit log on this machine: reads of secrets."""

    kind: Literal["gcp-audit-files"]
    """The kind of access log."""

    ADAPTER = "keyturn.access_log.sources.gcp_audit:open_gcp_files"
