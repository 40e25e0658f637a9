"""Backups in a bucket of S3 or a compatible service. Source: "Amazon S3 API Reference", and "Object Lock".

Needs ``s3:PutObject``, ``s3:GetObject`` and ``s3:ListBucket``; for retention ``s3:PutObjectRetention`` and
``s3:GetObjectRetention``, for pruning ``s3:DeleteObject``.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError
from urllib3.exceptions import HTTPError

from keyturn.core.errors import Conflict, Invalid, Locked, Unavailable
from keyturn.core.ports.backups import LARGEST_OBJECT, StoredObject
from keyturn.providers import outbound
from keyturn.providers.answers import reads_answers
from keyturn.providers.aws.client import AwsSettings, bounded_pages, field, service_client, translate_aws_errors

LONGEST_TRANSFER: Final = 60.0
"""Seconds for one object."""
TAKEN_CODES: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
ABSENT_CODES: Final = frozenset({"404", "NoSuchKey", "NotFound"})


@reads_answers("S3")
class BackupBucket:
    """A ``BackupPlace``; new objects are locked for ``retain``."""

    def __init__(
        self, bucket: str, prefix: str, settings: AwsSettings, *, retain: timedelta | None = None, mode: str = ""
    ) -> None:
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix = bucket, prefix
        self._retain, self._mode = retain, mode
        self._client = service_client("s3", self.name, settings)

    def put(self, name: str, content: bytes) -> None:
        called = self._called(name)
        with translate_aws_errors("write", called), outbound.within(LONGEST_TRANSFER):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=content, IfNoneMatch="*", **self._lock()
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in TAKEN_CODES:
                    raise
                raise Conflict("write", called, "there is one of that name already") from None

    def get(self, name: str) -> bytes:
        called = self._called(name)
        with translate_aws_errors("read", called), outbound.within(LONGEST_TRANSFER):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            if int(field(answer, "ContentLength", "read", called)) > LARGEST_OBJECT:
                raise Invalid("read", called, f"it is longer than {LARGEST_OBJECT >> 20} MiB")
            try:
                content: bytes = answer["Body"].read()
            except (HTTPError, IncompleteReadError, ReadTimeoutError, OSError):
                raise Unavailable("read", called, "S3 broke off", "It is tried again by itself") from None
        return content

    def find(self, name: str) -> StoredObject | None:
        called = self._called(name)
        with translate_aws_errors("look at", called):
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ABSENT_CODES:
                    raise
                return None
        size, changed = (field(answer, part, "look at", called) for part in ("ContentLength", "LastModified"))
        return StoredObject(name, int(size), changed, answer.get("ObjectLockRetainUntilDate"))

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        with translate_aws_errors("list", self.name):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in bounded_pages(pages, "list", self.name):
                field(page, "IsTruncated", "list", self.name)  # a proxy's answer is not an empty listing
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])

    def remove(self, name: str) -> None:
        """Remove an object; in a versioned bucket all versions, because a delete marker frees no space."""
        called, key = self._called(name), self._prefix + name
        stored = self.find(name)
        if stored and stored.retained_until and stored.retained_until > datetime.now(UTC):
            problem = f"it is locked until {stored.retained_until:%Y-%m-%d %H:%M} UTC"
            raise Locked("remove", called, problem, "Wait for that; it can't be removed before")
        with translate_aws_errors("remove", called):
            answer = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
            versions = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
            for version in (version for version in versions if version["Key"] == key):
                self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version["VersionId"])

    def close(self) -> None:
        self._client.close()

    def _lock(self) -> Mapping[str, Any]:
        if self._retain is None:
            return {}
        return {"ObjectLockMode": self._mode.upper(), "ObjectLockRetainUntilDate": datetime.now(UTC) + self._retain}

    def _called(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}"
