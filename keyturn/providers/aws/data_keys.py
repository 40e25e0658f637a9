"""Data keys wrapped by a key of AWS KMS. Source: "GenerateDataKey" and "Decrypt" of AWS KMS's API reference.

Needs only ``kms:GenerateDataKey`` and ``kms:Decrypt`` on the key. A policy may require
``kms:EncryptionContext:keyturn-purpose``, which KMS writes to CloudTrail.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from keyturn.core.errors import Unavailable
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, refuse_key
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import AwsSettings, field, service_client, translate_aws_errors

LOST: Final = frozenset({"IncorrectKeyException", "InvalidCiphertextException", "NotFoundException"})


@reads_answers("AWS KMS")
class KmsDataKeys:
    """Data keys by one symmetric key: its id, ARN or alias. Raises Invalid and Denied for unusable settings."""

    kind = "aws-kms"

    def __init__(
        self,
        key_id: str,
        *,
        region: str,
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        profile: str | None = None,
    ) -> None:
        self._key_id = key_id
        self._name = f"the KMS key {key_id}"
        self._kms = service_client("kms", self._name, AwsSettings(region, endpoint_url, profile, role_arn))

    def make(self, context: Mapping[str, str]) -> DataKey:
        with translate_aws_errors("make a data key with", self._name):
            answer = self._kms.generate_data_key(KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=dict(context))
        doing = "make a data key with"
        return DataKey(self._key(answer, doing), _text(field(answer, "CiphertextBlob", doing, self._name)))

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        doing = "unwrap a data key with"
        with translate_aws_errors(doing, self._name):
            try:
                answer = self._kms.decrypt(
                    KeyId=self._key_id, CiphertextBlob=base64.b64decode(wrapped), EncryptionContext=dict(context)
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in LOST:
                    raise
                raise refuse_key(self._name, "KMS refuses to unwrap the data key") from None
            except ValueError:
                raise refuse_key(self._name, "the data key was changed since it was wrapped") from None
        return self._key(answer, doing)

    def close(self) -> None:
        self._kms.close()

    def _key(self, answer: Mapping[str, Any], doing: str) -> Sensitive:
        key = Sensitive(_text(field(answer, "Plaintext", doing, self._name)))
        if len(base64.b64decode(key.reveal())) != KEY_BYTES:
            problem = f"the answer's key is not of {KEY_BYTES} bytes"
            raise Unavailable(doing, self._name, problem, "Check that the endpoint is AWS's own")
        return key


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
