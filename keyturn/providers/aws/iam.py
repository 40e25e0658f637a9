"""The access keys of AWS IAM users, as :class:`keyturn.core.ports.cloud_keys.CloudKeys`.

IAM is eventually consistent: changes take some seconds. Source: the IAM and STS API references, and "Revoke IAM role
temporary security credentials" in the IAM user guide.
"""

import json
import re
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn.core.errors import CandidateRejected, Invalid, NotFound, TerminalError
from keyturn.core.ports.cloud_keys import CloudKey, KeyUse
from keyturn.core.sensitive import SecretFields
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import SDK_CONFIG, AwsSettings, field, items_of, opening, translate_aws_errors

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

ONE_TRY: Final = SDK_CONFIG.merge(Config(retries={"total_max_attempts": 1}))
"""For CreateAccessKey: a retry after a lost answer would create a second key."""
UNKNOWN: Final = "InvalidClientTokenId"
"""STS's code for a key that is absent, inactive, or not yet known everywhere."""
AGAIN: Final = "Run the rotation again: it makes another key"
WRONG_SECRET: Final = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
KEY_ID: Final = re.compile(r"\w{16,128}")
"""The SDK refuses shorter ids."""
REVOKED: Final = "keyturn-revoked-sessions"
ARRIVAL: Final = timedelta(seconds=30)
"""Later sessions are denied too, because a key works until its end has spread. Source: IAM's console."""


@reads_answers()
class AwsIam:
    """Raises Invalid or Denied for unusable settings."""

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
        with opening(name, AwsSettings(region, endpoint_url, profile, role_arn), "target") as self._session:
            self._iam, self._making = (
                self._session.client("iam", region_name=region, endpoint_url=endpoint_url, config=config)
                for config in (SDK_CONFIG, ONE_TRY)
            )

    def keys(self, account: str) -> Sequence[CloudKey]:
        name = self._named(account)
        with translate_aws_errors("list the keys of", name):
            pages = self._iam.get_paginator("list_access_keys").paginate(UserName=account)
            try:
                keys = list(items_of(pages, "AccessKeyMetadata", "list the keys of", name))
            except self._iam.exceptions.NoSuchEntityException:
                hint = "Make the user, or correct its name in the secret's rotation"
                raise NotFound("list the keys of", name, "there is no such IAM user", hint) from None
        return [CloudKey(key["AccessKeyId"], key["CreateDate"], key["Status"] == "Active") for key in keys]

    def create(self, account: str) -> SecretFields:
        """Raises Invalid if the user already has two keys."""
        name = self._named(account)
        with translate_aws_errors("make a key for", name):
            try:
                answer = self._making.create_access_key(UserName=account)
            except self._making.exceptions.LimitExceededException:
                hint = "Delete the one that nothing uses: Keyturn ends only keys that it made"
                raise Invalid("make a key for", name, "it has two access keys already", hint) from None
        key = field(answer, "AccessKey", "make a key for", name)
        return SecretFields({"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]})

    def signs_in(self, account: str, key: SecretFields) -> bool:
        """Raises CandidateRejected for a wrong secret or another identity."""
        name = self._named(account)
        with translate_aws_errors("verify", name), closing(self._as(key)) as sts:
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
        """To the minute; AWS reports it up to some hours late."""
        # For an absent key AWS answers as if a permission were missing.
        if not self._lists(account, key_id):
            return None
        with translate_aws_errors("look up the use of a key of", self._named(account)):
            use = self._iam.get_access_key_last_used(AccessKeyId=key_id).get("AccessKeyLastUsed", {})
        at = use.get("LastUsedDate")
        if at is None or at <= since:
            return None
        return KeyUse(at, f"{use.get('ServiceName', 'N/A')} in {use.get('Region', 'N/A')}")

    def accepts(self, account: str, key: SecretFields) -> bool:
        """A refusal counts only if STS accepts Keyturn's own credentials."""
        with translate_aws_errors("try a key of", self._named(account)):
            with closing(self._as(key)) as sts:
                try:
                    sts.get_caller_identity()
                except ClientError as error:
                    if error.response["Error"]["Code"] not in {UNKNOWN, *WRONG_SECRET}:
                        raise
                else:
                    return True
            # AWS uses the same code for a wrong clock and for a disabled region.
            with closing(self._as()) as own:
                own.get_caller_identity()
        return False

    def end(self, account: str, key_id: str) -> None:
        if self._switch_off(account, key_id):
            self._delete(account, key_id)

    def revoke(self, account: str, key_id: str, sequence: int) -> Sequence[str]:
        """Deactivate the key, deny the user's sessions until now, delete the key, and return what remains valid.

        The user's policy denies temporary credentials issued before now (aws:TokenIssueTime). Access keys have no such
        time, so a new key is unaffected.
        """
        roles = f"sessions of roles that {account} has assumed, for up to 12 hours: only the roles can revoke them"
        since = self._switch_off(account, key_id)
        left = self._revoke_sessions(account, sequence, since)
        if since:
            self._delete(account, key_id)
        return (*left, roles)

    def close(self) -> None:
        self._iam.close()
        self._making.close()

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"

    def _switch_off(self, account: str, key_id: str) -> datetime | None:
        """When AWS deactivated the key; None if the user has no such key."""
        if not KEY_ID.fullmatch(key_id):
            return None
        with translate_aws_errors("end a key of", self._named(account)):
            try:
                answer = self._iam.update_access_key(UserName=account, AccessKeyId=key_id, Status="Inactive")
            except self._iam.exceptions.NoSuchEntityException:
                return None
        return answered_at(answer)

    def _delete(self, account: str, key_id: str) -> None:
        with translate_aws_errors("end a key of", self._named(account)):
            try:
                self._iam.delete_access_key(UserName=account, AccessKeyId=key_id)
            except self._iam.exceptions.NoSuchEntityException:
                return

    def _revoke_sessions(self, account: str, sequence: int, since: datetime | None) -> tuple[str, ...]:
        """Without ``since`` the key was gone: then only a newer cut than the last one denies sessions."""
        doing, name = "revoke the sessions of", self._named(account)
        try:
            with translate_aws_errors(doing, name):
                if since or self._revoked(account) < sequence:
                    policy = revoking((since or datetime.now(UTC)) + ARRIVAL, sequence)
                    self._iam.put_user_policy(UserName=account, PolicyName=REVOKED, PolicyDocument=json.dumps(policy))
        except NotFound:
            return ()  # a deleted user has no sessions
        except TerminalError as refused:
            why = f"{refused.problem}. {refused.hint}".strip(". ")
            return (f"sessions that {account} has got with its keys, for up to 36 hours: not revoked, since {why}",)
        return ()

    def _revoked(self, account: str) -> int:
        try:
            policy = self._iam.get_user_policy(UserName=account, PolicyName=REVOKED)
        except self._iam.exceptions.NoSuchEntityException:
            return 0
        match = re.search(r'"KeyturnCut([0-9]{1,12})"', json.dumps(policy["PolicyDocument"]))
        return int(match[1]) if match else 0

    def _lists(self, account: str, key_id: str) -> bool:
        try:
            return key_id in [key.key_id for key in self.keys(account)]
        except NotFound:
            return False

    def _as(self, key: SecretFields | None = None) -> "STSClient":
        # Unlike clients, sessions are not thread-safe.
        with self._lock:
            return self._session.client(
                "sts",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=SDK_CONFIG,
                aws_access_key_id=key["access_key_id"].reveal() if key else None,
                aws_secret_access_key=key["secret_access_key"].reveal() if key else None,
            )


def answered_at(answer: Any) -> datetime:
    """By AWS's clock; by this machine's if AWS sent no time."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def revoking(moment: datetime, sequence: int) -> dict[str, Any]:
    issued = {"aws:TokenIssueTime": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    statement = {"Sid": f"KeyturnCut{sequence}", "Effect": "Deny", "Action": "*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": {"DateLessThan": issued}}]}
