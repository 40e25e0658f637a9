"""AWS IAM as a target: the access keys of users, as :class:`keyturn.core.cloud_keys.CloudKeys`.

IAM is eventually consistent: what is made or ended here is known everywhere some seconds later. Source:
"CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "ListAccessKeys" and "GetAccessKeyLastUsed" in the IAM
API reference, "GetCallerIdentity" in the STS API reference, "Changes that I make are not always immediately
visible" in the IAM user guide.
"""

import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn.core.cloud_keys import CloudKey, KeyUse
from keyturn.core.errors import CandidateRejected, Invalid, NotFound
from keyturn.core.sensitive import SecretFields
from keyturn.providers.aws import SDK_CONFIG, AwsSettings, field, open_session, translated

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_sts import STSClient

ONE_TRY: Final = SDK_CONFIG.merge(Config(retries={"total_max_attempts": 1}))
"""For CreateAccessKey: a second try after a lost answer would make a second key."""

UNKNOWN: Final = "InvalidClientTokenId"
"""STS's word for a key that is not there, is inactive, or has not arrived everywhere yet."""
AGAIN: Final = "Run the rotation again: it makes another key"
WRONG_SECRET: Final = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})


class AwsIam:
    """The users of one account. Raises Invalid or Denied for settings that can't work."""

    def __init__(
        self,
        name: str,
        *,
        region: str = "us-east-1",
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.name = name
        self._region = region
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        with translated("open", name):
            self._session = open_session(AwsSettings(region, endpoint_url, profile, role_arn))
            self._iam = self._open(SDK_CONFIG)
            self._making = self._open(ONE_TRY)

    def keys(self, account: str) -> Sequence[CloudKey]:
        """The user's access keys, active or not. Raises NotFound where there is no such user."""
        name = self._named(account)
        with translated("list the keys of", name):
            pages = self._iam.get_paginator("list_access_keys").paginate(UserName=account)
            try:
                listed = [key for page in pages for key in field(page, "AccessKeyMetadata", "list the keys of", name)]
            except self._iam.exceptions.NoSuchEntityException:
                hint = "Make the user, or correct its name in the secret's rotation"
                raise NotFound("list the keys of", name, "there is no such IAM user", hint) from None
        return [CloudKey(key["AccessKeyId"], key["CreateDate"], key["Status"] == "Active") for key in listed]

    def create(self, account: str) -> SecretFields:
        """A new access key. Raises Invalid where the user has two already."""
        name = self._named(account)
        with translated("make a key for", name):
            try:
                answer = self._making.create_access_key(UserName=account)
            except self._making.exceptions.LimitExceededException:
                hint = "Delete the one that nothing uses: Keyturn ends only keys that it made"
                raise Invalid("make a key for", name, "it has two access keys already", hint) from None
        key = field(answer, "AccessKey", "make a key for", name)
        return SecretFields({"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]})

    def accepts(self, account: str, key: SecretFields) -> bool:
        """Ask STS who signs in with the key. Raises CandidateRejected for a wrong secret or another identity."""
        name = self._named(account)
        with translated("verify", name), closing(self._as(key)) as sts:
            try:
                caller = field(sts.get_caller_identity(), "Arn", "verify", name)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == UNKNOWN:
                    return False
                if code in WRONG_SECRET:
                    raise CandidateRejected("verify", name, "the secret access key is wrong", AGAIN) from None
                raise
            if caller != self._iam.get_user(UserName=account)["User"]["Arn"]:
                raise CandidateRejected("verify", name, "the new access key is another identity's", AGAIN)
        return True

    def last_use(self, account: str, key_id: str, since: datetime) -> KeyUse | None:
        """The latest use after ``since``, which AWS tells to the minute and with a delay of up to some hours."""
        # AWS refuses to tell of a key that is gone, in words that sound like a missing permission.
        if not self._lists(account, key_id):
            return None
        with translated("look up the use of a key of", self._named(account)):
            told = self._iam.get_access_key_last_used(AccessKeyId=key_id).get("AccessKeyLastUsed", {})
        at = told.get("LastUsedDate")
        if at is None or at <= since:
            return None
        return KeyUse(at, f"{told.get('ServiceName', 'N/A')} in {told.get('Region', 'N/A')}")

    def end(self, account: str, key_id: str) -> None:
        """Deactivate the key, then delete it. Absent is success."""
        gone = self._iam.exceptions.NoSuchEntityException
        with translated("end a key of", self._named(account)), suppress(gone):
            self._iam.update_access_key(UserName=account, AccessKeyId=key_id, Status="Inactive")
            self._iam.delete_access_key(UserName=account, AccessKeyId=key_id)

    def close(self) -> None:
        """Let go of connections; the target can't be used afterwards."""
        self._iam.close()
        self._making.close()

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"

    def _lists(self, account: str, key_id: str) -> bool:
        try:
            return key_id in [key.key_id for key in self.keys(account)]
        except NotFound:
            return False

    def _open(self, config: Config) -> "IAMClient":
        try:
            return self._session.client("iam", region_name=self._region, endpoint_url=self._endpoint_url, config=config)
        except ValueError:
            problem = f"region {self._region!r} or endpoint {self._endpoint_url!r} is malformed"
            raise Invalid("open", self.name, problem, "Correct the target's settings") from None

    def _as(self, key: SecretFields) -> "STSClient":
        # Sessions, unlike clients, can't be used by several threads at once.
        with self._lock:
            return self._session.client(
                "sts",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=SDK_CONFIG,
                aws_access_key_id=key["access_key_id"].reveal(),
                aws_secret_access_key=key["secret_access_key"].reveal(),
            )
