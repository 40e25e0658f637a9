"""The stores of AWS."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from keyturn.core.ports.stores import Details
from keyturn.core.rights import aws_rights
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.store_limits import AWS_PARAMETER_STORE, AWS_SECRETS_MANAGER, LIMITS, Limits
from keyturn.core.text.details import AWS_MAX_DESCRIPTION, AWS_MAX_TAG, AWS_TAGS, SHOWN, refuses_names
from keyturn.settings.fields import Duration, Line, Model, WebUrl, keep_plain_http_at_home, matching, refused
from keyturn.settings.stores import Accounts, StoreBase, System

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

KeyArn = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-z0-9-]+",
        "is not the ARN of a KMS key",
        "Write arn:aws:kms:REGION:ACCOUNT:key/ID.",
    ),
    WithJsonSchema({"type": "string", "pattern": "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/"}),
]


class Replica(Model):
    """A region in which AWS keeps a copy, and its key there."""

    region: Region
    """The region's code."""
    kms_key_id: KeyArn | None = None
    """The ARN of a KMS key in that region; by default, the store's own if its name is valid in all regions."""

    @model_validator(mode="after")
    def _key_of_the_region(self) -> Self:
        if self.kms_key_id and self.kms_key_id.split(":")[3] != self.region:
            raise refused("is a key of another region", f"Name one of {self.region}.", "kms_key_id")
        return self


def _replica(data: Any) -> Any:
    return {"region": data} if isinstance(data, str) else data


ReplicaRegion = Annotated[Replica, BeforeValidator(_replica, json_schema_input_type=Region | Replica)]


def _account(role_arn: str) -> str:
    return role_arn.split(":")[4]


def _twice(values: Sequence[str]) -> str | None:
    return next((value for value in values if values.count(value) > 1), None)


def _regional(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": ["region"]}, {"required": ["regions"]}]


class AwsSettings(StoreBase):
    """One region of one account of AWS, or several at once. Credentials come from AWS's usual chain.

    With ``regions`` or ``role_arns`` the entry means a store in each: ``aws/eu-central-1`` by region,
    ``aws/111122223333`` by account, ``aws/111122223333/eu-central-1`` by both.
    """

    model_config = ConfigDict(json_schema_extra=_regional)

    EXTRA = "aws"
    MERGES = True
    OWN = StoreBase.OWN | {"regions", "role_arns", "insecure_http"}

    regions: Annotated[tuple[Region, ...], Field(json_schema_extra={"minItems": 1})] = ()
    """A store in each of these regions, named NAME/REGION, which Keyturn writes itself; instead of region."""
    region: Region | None = Field(default=None, validate_default=True)
    """The region's code, such as eu-central-1."""
    endpoint_url: WebUrl | None = None
    """A custom AWS address, such as a VPC endpoint or an emulator; plain http only on loopback."""
    insecure_http: bool = False
    """Whether plain http to another machine, such as an emulator's container, is allowed. Others on the network can
    read the values."""
    role_arn: RoleArn | None = None
    """The IAM role to assume, to work in its account."""
    role_arns: Annotated[tuple[RoleArn, ...], Field(json_schema_extra={"minItems": 1})] = ()
    """A store in the account of each of these roles, named NAME/ACCOUNT; instead of role_arn."""
    profile: Line | None = None
    """The profile in AWS's configuration files that has the credentials."""

    @model_validator(mode="after")
    def _keep_values_from_others(self) -> Self:
        if self.endpoint_url:
            remedy = "Use https, or set insecure_http: true if no one can be in between."
            keep_plain_http_at_home(self.endpoint_url, self.insecure_http, remedy, "endpoint_url")
        return self

    @field_validator("region")
    @classmethod
    def _region_or_regions(cls, region: str | None, info: ValidationInfo) -> str | None:
        # An unreadable list is reported separately.
        several = info.data.get("regions")
        if region and several:
            raise refused("region and regions exclude each other", "Keep one of the two.")
        if region is None and several == ():
            remedy = "Add region: the region's code, such as eu-central-1; or regions, where there are several."
            raise refused("is missing", remedy)
        return region

    @field_validator("regions")
    @classmethod
    def _each_region_once(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if region := _twice(regions):
            raise refused(f"{region} appears twice", "Name it once.")
        return regions

    @field_validator("role_arns")
    @classmethod
    def _each_account_once(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        if account := _twice([_account(role) for role in roles]):
            raise refused(f"two roles of the account {account}", "Name one: its secrets are the same to both.")
        return roles

    @model_validator(mode="after")
    def _fits_all_members(self) -> Self:
        if self.role_arn and self.role_arns:
            raise refused("role_arn and role_arns exclude each other", "Keep one of the two.", "role_arns")
        key = getattr(self, "kms_key_id", None)
        if len(self.regions) > 1 and key and not key.startswith(("alias/", "mrk-")):
            remedy = "Name an alias that each region has (alias/...), or a multi-Region key by its id (mrk-...)."
            raise refused("a key of one region can't encrypt in several", remedy, "kms_key_id")
        return self

    def members(self, name: str) -> Mapping[str, Self]:
        if not self.regions and not self.role_arns:
            return {name: self}
        settings = self.model_dump(by_alias=True, exclude_unset=True, exclude={"regions", "role_arns"})
        return {
            "/".join([name, *account, *region]): type(self).model_validate({**settings, **own})
            for account, region, own in self._differences()
        }

    def _differences(self) -> Iterator[tuple[list[str], list[str], dict[str, str]]]:
        for role in self.role_arns or (None,):
            for region in self.regions or (None,):
                own = {"role_arn": role, "region": region}
                names = [_account(role)] if role else [], [region] if region else []
                yield *names, {key: value for key, value in own.items() if value}

    @property
    def places(self) -> tuple[str, ...]:
        return (self.region,) if self.region else self.regions

    @property
    def accounts(self) -> Accounts:
        several = {("role_arns", index): role for index, role in enumerate(self.role_arns)}
        roles = {("role_arn",): self.role_arn} if self.role_arn else several
        return {path: _account(role) for path, role in roles.items()}

    @property
    def system(self) -> System:
        account = _account(self.role_arn) if self.role_arn else self.profile or ""
        return (self.kind, self.region or "", account, (self.endpoint_url or "").rstrip("/").casefold())

    def refuses_details(self, details: Details) -> str | None:
        kind = self.kind
        if refusal := super().refuses_details(details):
            return refusal
        if len(details.description) > AWS_MAX_DESCRIPTION:
            return f"{kind} allows a description of {AWS_MAX_DESCRIPTION} characters at most"
        return AWS_TAGS.refuses(kind, details.tags) or refuses_names(kind, details, AWS_MAX_TAG)


class AwsSecretsManagerSettings(AwsSettings):
    """AWS Secrets Manager, in one region of one account, or in several. Credentials come from AWS's usual chain."""

    kind: Literal["aws-secrets-manager"]
    """The kind of store."""
    kms_key_id: Line | None = None
    """The KMS key of new secrets: its id, ARN or alias; by default, aws/secretsmanager."""
    replicas: tuple[ReplicaRegion, ...] = ()
    """Other regions in which AWS keeps a copy of every secret: their codes, or region and kms_key_id of each."""
    recovery_window: RecoveryWindow = timedelta(days=30)
    """The time in which AWS can restore a deleted secret: 7 to 30 days."""

    @property
    def places(self) -> tuple[str, ...]:
        return (*super().places, *(replica.region for replica in self.replicas))

    @model_validator(mode="after")
    def _writes_or_replicates(self) -> Self:
        if self.replicas and len(self.regions) > 1:
            remedy = "Keep replicas, which AWS copies on from one region, or regions, each of which Keyturn writes."
            raise refused("every one of the regions would be replicated to the same place", remedy, "replicas")
        return self

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        return aws_rights.of_secrets_manager(
            copies, region=self.region, role_arn=self.role_arn, kms_key_id=self.kms_key_id, replicas=self.replicas
        )

    ASKS = "keyturn.providers.aws.rights:ask_secrets_manager"
    ADAPTER = "keyturn.providers.aws.secrets_manager:AwsSecretsManager"
    LIMITS = LIMITS[AWS_SECRETS_MANAGER]
    TAKES = SHOWN[AWS_SECRETS_MANAGER]
    QUOTA = 50.0


class AwsParameterStoreSettings(AwsSettings):
    """AWS Systems Manager Parameter Store, in one region of one account, or in several."""

    kind: Literal["aws-parameter-store"]
    """The kind of store."""
    type: Literal["SecureString", "String"] = "SecureString"
    """SecureString is encrypted; String is not."""
    kms_key_id: Line | None = None
    """The KMS key of a SecureString: its id, ARN or alias; by default, aws/ssm."""
    tier: Literal["Standard", "Advanced", "Intelligent-Tiering"] = "Standard"
    """Standard allows 4 KB per value; Advanced allows 8 KB for a fee."""

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        return aws_rights.of_parameter_store(
            copies, region=self.region, role_arn=self.role_arn, kms_key_id=self.kms_key_id
        )

    ASKS = "keyturn.providers.aws.rights:ask_parameter_store"
    ADAPTER = "keyturn.providers.aws.parameter_store:AwsParameterStore"
    LIMITS = LIMITS[AWS_PARAMETER_STORE]
    TAKES = SHOWN[AWS_PARAMETER_STORE]
    QUOTA = 3.0

    @property
    def limits(self) -> Limits:
        return super().limits if self.tier != "Standard" else replace(super().limits, max_bytes=4_096)
