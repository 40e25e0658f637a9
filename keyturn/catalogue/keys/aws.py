"""A key of AWS KMS."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.stores.aws import KeyArn, RoleArn
from keyturn.core.rights import kms_policies
from keyturn.core.rights.rights import Document
from keyturn.settings.fields import Duration, Line, Model, WebUrl, keep_plain_http_at_home, matching, refused
from keyturn.settings.keys import KeyBase
from keyturn.settings.stores import Accounts

SHORTEST: Final = timedelta(days=90)
LONGEST: Final = timedelta(days=2560)
"""The limits of KMS's automatic rotation period. Source: "EnableKeyRotation" of AWS KMS's API reference."""


def _period(period: timedelta) -> timedelta:
    if not SHORTEST <= period <= LONGEST or period % timedelta(days=1):
        raise refused("is no period that KMS rotates a key in", "Write 90d to 2560d.")
    return period


ALIAS: Final = r"alias/(?!aws/)[a-zA-Z0-9/_-]{1,250}"
Alias = Annotated[
    str,
    matching(ALIAS, "is no alias of a key", "Write alias/NAME; alias/aws/ is AWS's own."),
    WithJsonSchema({"type": "string", "pattern": f"^{ALIAS}$"}),
]
GRANT: Final = r"[a-zA-Z0-9_-]{1,64}"
GrantName = Annotated[
    str,
    matching(GRANT, "is no name of a grant", "Use letters, digits, - and _."),
    WithJsonSchema({"type": "string", "pattern": f"^{GRANT}$"}),
]
ServiceName = Annotated[
    str,
    matching(r"[a-z0-9-]+", "is no name of a service", "Write it as AWS does before its region, such as ssm."),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9-]+$"}),
]
GrantOperation = Literal["Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"]


class KeyUser(Model):
    """Roles that may use the key, limited to services or to an encryption context."""

    principals: Annotated[tuple[RoleArn, ...], Field(min_length=1)]
    """The ARNs of the roles."""
    via: tuple[ServiceName, ...] = ()
    """The services for such uses (kms:ViaService), such as secretsmanager; by default, direct use too."""
    context: dict[Line, Line] = Field(default_factory=dict)
    """The required encryption context (kms:EncryptionContext)."""

    @model_validator(mode="after")
    def _narrowed(self) -> Self:
        if not self.via and not self.context:
            raise refused("is narrowed by nothing", "Say via or context.", "via")
        return self


class KeyPolicy(Model):
    """The administrators and the users of the key: Keyturn makes the whole policy from them."""

    administrators: tuple[RoleArn, ...] = ()
    """The ARNs of roles that may administer the key, in addition to those by policies of the account."""
    users: tuple[KeyUser, ...] = ()
    """The users of the key."""


class KeyGrant(Model):
    """A grant of the key to one role."""

    name: GrantName
    """The grant's name; Keyturn adds the prefix keyturn- in KMS."""
    principal: RoleArn
    """The ARN of the role."""
    operations: Annotated[tuple[GrantOperation, ...], Field(min_length=1)]
    """The allowed operations."""
    context: dict[Line, Line] = Field(default_factory=dict)
    """The required encryption context."""


class AwsKmsKeySettings(KeyBase):
    """A symmetric key of AWS KMS whose material KMS has made."""

    kind: Literal["aws-kms"]
    """The kind of key."""
    key: KeyArn
    """The key's ARN, with its region and account."""
    automatic: Annotated[Duration, AfterValidator(_period)] | None = None
    """The period of KMS's own rotation, 90d to 2560d; by default, KMS's setting stays unchanged."""
    aliases: tuple[Alias, ...] = ()
    """Aliases of the key."""
    policy: KeyPolicy | None = None
    """The administrators and users; by default, the key's policy stays unchanged."""
    grants: tuple[KeyGrant, ...] | None = None
    """The grants: others with the prefix keyturn- are revoked. By default, grants stay unchanged."""
    endpoint_url: WebUrl | None = None
    """A custom AWS address, such as a VPC endpoint or an emulator; plain http only on loopback."""
    role_arn: RoleArn | None = None
    """The IAM role to assume for managing it."""
    profile: Line | None = None
    """The profile in AWS's configuration files that has the credentials."""

    ADAPTER = "keyturn.providers.aws.kms_keys:KmsKey"
    EXTRA = "aws"

    @model_validator(mode="after")
    def _keep_keys_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        names = [grant.name for grant in self.grants or ()]
        if len(set(names)) < len(names):
            raise refused("two grants have one name", "Give each its own name.", "grants")
        return self

    @property
    def place(self) -> str:
        parts = self.key.split(":")
        return f"KMS {parts[3]} {parts[5].removeprefix('key/')}"

    @property
    def accounts(self) -> Accounts:
        named: dict[tuple[str | int, ...], str] = {("key",): self.key}
        named |= {("role_arn",): self.role_arn} if self.role_arn else {}
        if self.policy:
            named |= {("policy", "administrators", i): arn for i, arn in enumerate(self.policy.administrators)}
            named |= {
                ("policy", "users", i, "principals", j): arn
                for i, user in enumerate(self.policy.users)
                for j, arn in enumerate(user.principals)
            }
        named |= {("grants", i, "principal"): grant.principal for i, grant in enumerate(self.grants or ())}
        return {path: arn.split(":")[4] for path, arn in named.items()}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """The IAM policy for management of the key: no use of it, and nothing undeclared."""
        yield kms_policies.managing(
            self.key,
            file,
            origin,
            automatic=self.automatic is not None,
            aliases=self.aliases,
            policy=self.policy is not None,
            grants=self.grants is not None,
            on_demand=True,
        )
