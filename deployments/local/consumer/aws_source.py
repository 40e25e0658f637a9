"""The application's secrets as AWS Secrets Manager serves them, over boto3 as any application reads them."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deployments.local.consumer.sources import Credential
from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.core.stores import OwnershipTags
from keyturn.providers.aws.client import translate_aws_errors
from keyturn.providers.aws.secrets_manager import version_id

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef, GetSecretValueResponseTypeDef


class AwsSource:
    """Reads the copies of hub secrets; ``names`` tells a path's name there, where it is another."""

    name = "aws"

    def __init__(self, client: "SecretsManagerClient", names: Mapping[str, str]) -> None:
        self._client = client
        self._names = names

    def read(self, path: str) -> Credential:
        """The copy, with its hub version where the marks beside it belong to this very value."""
        name = self._names.get(path, path)
        with translate_aws_errors("read", f"aws:{name}"):
            described = self._client.describe_secret(SecretId=name)
            served = self._client.get_secret_value(SecretId=name)
        fields = _fields(served, name)
        return Credential(fields, _hub_version(described, served), served["VersionId"], served["CreatedDate"])


def _hub_version(described: "DescribeSecretResponseTypeDef", served: "GetSecretValueResponseTypeDef") -> int | None:
    # The value is pushed before its marks, so for a moment the marks are those of the value before it.
    marks = OwnershipTags.from_tags({tag["Key"]: tag["Value"] for tag in described.get("Tags", ())})
    return marks.version if marks and version_id(marks) == served["VersionId"] else None


def _fields(served: "GetSecretValueResponseTypeDef", name: str) -> SecretFields:
    try:
        held = json.loads(served.get("SecretString", ""))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise Invalid("read", f"aws:{name}", "it is not a JSON object", "Let Keyturn push it, with its fields")
    return SecretFields(held)
