"""Access keys of IAM users: a new one for each version, and the old one deactivated and deleted when it is retired."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from keyturn.core.errors import Invalid
from keyturn.core.ports.cloud_keys import CloudKey
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import Line, matching
from keyturn.strategies.base import StrategySettings, Tools, text_of
from keyturn.strategies.cloud_keys import CloudKeyStrategy


class AwsIamKey(CloudKeyStrategy):
    """One user's keys; a version holds ``access_key_id`` and ``secret_access_key``."""

    credential_fields = frozenset({"access_key_id", "secret_access_key"})
    reports_use = True
    limit = 2  # "IAM and AWS STS quotas": access keys assigned to an IAM user
    account_name = "user"
    key_name = "access_key_id"
    holds = frozenset({"access_key_id", "secret_access_key"})

    def key_id(self, fields: SecretFields | None) -> str | None:
        return text_of(fields, self.key_name)

    def check_own(self, key_id: str, keys: Sequence[CloudKey], fields: SecretFields) -> None:
        """An access key does not show its user, so it must be among the user's keys. Raises Invalid."""
        if key_id not in [key.key_id for key in keys]:
            problem = f"the secret holds the access key {key_id}, which is no key of this user"
            hint = "Correct `user`, or write a key of the user; if it was deleted at AWS, remove it from the secret"
            raise Invalid("rotate", f"{self.target.name}:{self.account}", problem, hint)


# --- in the catalogue --------------------------------------------------------------------------------------

UserName = Annotated[
    str,
    matching(r"[\w+=,.@-]{1,64}", "is not a name of an IAM user", "Write the name alone, without path and ARN."),
    WithJsonSchema({"type": "string", "pattern": r"^[\w+=,.@-]{1,64}$"}),
]
"""IAM API reference, "CreateUser"."""


class AwsIamKeySettings(StrategySettings):
    """A new access key of an IAM user for each version."""

    targets = frozenset({"aws-iam"})
    claims = ("user",)

    strategy: Literal["aws-iam-key"]
    """How the secret is replaced."""
    target: Line
    """The name of the target whose user it is."""
    user: UserName
    """The IAM user. No other secret may rotate its keys: a user has two at most."""

    def open(self, path: str, tools: Tools) -> AwsIamKey:
        return AwsIamKey(tools.target(self.target), self.user)
