"""The S3 bucket that CloudTrail delivers log files to."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from botocore.exceptions import IncompleteReadError, ReadTimeoutError
from urllib3.exceptions import HTTPError

from keyturn.access_log.sources.cloudtrail import open_cloudtrail
from keyturn.access_log.sources.object_log import ObjectLog
from keyturn.access_log.sources.objects import DAY, LARGEST, STAMP, StoredObject, dated
from keyturn.access_log.sources.passed_objects import Passed, PassedKeys
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.ports.access_source import SourceOpening
from keyturn.providers import outbound
from keyturn.providers.aws.client import AwsSettings, bounded_pages, field, service_client, translate_aws_errors

HINT: Final = "Allow s3:ListBucket on the bucket, s3:GetObject on what is delivered, and kms:Decrypt on its key"
LONGEST_READ: Final = 120.0
"""Seconds for one object."""
LOOK_BACK: Final = timedelta(hours=2)
"""CloudTrail delivers within about 5 minutes on average; some replicas of a bucket take hours."""


class LogBucket:
    """The objects under ``prefix``, as an ``ObjectStore``; keys are complete."""

    def __init__(self, bucket: str, prefix: str, settings: AwsSettings) -> None:
        self.name = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = prefix
        self._listed: list[StoredObject] = []
        self._keys: PassedKeys | None = None
        self._client = service_client("s3", self.name, settings)

    def objects(self, after: str) -> Iterator[StoredObject]:
        """Raises Invalid for several prefixes: keys are in order by date only under one."""
        series = dated(after)[0] if after else ""
        self._listed, self._keys = [], None
        for stored in self._list(window_begin(after) or after):
            self._listed.append(stored)
            if stored.key <= after:
                continue
            beginning, date = dated(stored.key)
            if date and series and beginning != series:
                problem = f"it holds what begins with {series} and with {beginning}"
                raise Invalid("read", self.name, problem, "Give each an access log, with that as its prefix")
            series = beginning if date else series
            yield stored

    def _list(self, after: str) -> Iterator[StoredObject]:
        with translate_aws_errors("list", self.name):
            begin = {"StartAfter": after} if after else {}
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, **begin
            )
            for page in bounded_pages(pages, "list", self.name):
                field(page, "IsTruncated", "list", self.name)  # a proxy's answer is not an empty listing
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"], item["Size"], item["LastModified"].timestamp())

    def passed(self, key: str) -> Passed | None:
        if (begin := window_begin(key)) is None:
            return None
        self._keys = self._keys or PassedKeys(stored.key for stored in self._listed)
        return self._keys.up_to(self._position(key)) - self._keys.up_to(self._position(begin))

    def arrived(self, key: str) -> list[StoredObject]:
        passed = self._listed[self._position(window_begin(key) or key) : self._position(key)]
        return sorted(passed, key=lambda stored: (stored.changed, stored.key))

    def _position(self, key: str) -> int:
        return bisect_right(self._listed, key, key=lambda stored: stored.key)

    def read(self, key: str, offset: int = 0, limit: int = LARGEST + 1) -> bytes:
        name = f"s3://{self._bucket}/{key}"
        span = f"bytes={offset}-{offset + limit - 1}"
        with translate_aws_errors("read", name), outbound.within(LONGEST_READ):
            answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=span)
            field(answer, "ETag", "read", name)
            body = answer["Body"]
            try:
                data: bytes = body.read()
            except (HTTPError, IncompleteReadError, ReadTimeoutError, OSError):
                raise Unavailable("read", name, "S3 broke off", "It is tried again by itself") from None
        return data


def window_begin(key: str) -> str | None:
    """The start of :data:`LOOK_BACK` before this key; None if it contains no time."""
    day, stamp = DAY.search(key), STAMP.search(key)
    if not day or not stamp:
        return None
    try:
        moment = datetime.strptime(stamp[0], "%Y%m%dT%H%MZ") - LOOK_BACK
    except (ValueError, OverflowError):
        return None
    return f"{key[: day.start()]}/{moment:%Y/%m/%d}/{key[day.end() : stamp.start()]}{moment:%Y%m%dT%H%M}"


def open_bucket(
    opening_: SourceOpening,
    *,
    bucket: str,
    prefix: str,
    region: str,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
) -> ObjectLog:
    """Raises Invalid and Denied for unusable settings."""
    store = LogBucket(bucket, prefix, AwsSettings(region, endpoint_url, profile, role_arn))
    return open_cloudtrail(opening_, store, HINT)
