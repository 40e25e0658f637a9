"""A trail in a bucket of S3, with the least rights."""

import secrets
from collections.abc import Iterator

import boto3
import pytest

from deployments.local.emulators.aws import LocalAws
from keyturn.catalogue.access_logs.clouds import CloudTrailBucketSettings
from keyturn.core.access_source import AccessSource
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.providers.aws.log_bucket import open_bucket
from tests.access_log import cloud_logs as logs
from tests.access_log.cloud_logs import DeliveredLog, copy_of, opening, trail_file
from tests.contracts.access_source import PATHS, SourceContract, paths, records
from tests.support.local_aws import become

pytestmark = pytest.mark.sampled(10, of="file")

PREFIX = "AWSLogs/111122223333/CloudTrail/eu-central-1/"


@pytest.fixture
def bucket(aws: LocalAws) -> Iterator[str]:
    name = f"trail-{secrets.token_hex(4)}"
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=aws.endpoint_url)
    client.create_bucket(Bucket=name)
    yield name
    client.close()


@pytest.fixture
def delivered(aws: LocalAws, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> DeliveredLog:
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=aws.endpoint_url)

    def opened() -> AccessSource:
        return open_bucket(
            opening(tmp_path_factory.getbasetemp()),
            bucket=bucket,
            prefix=PREFIX,
            region="us-east-1",
            endpoint_url=aws.endpoint_url,
        )

    return DeliveredLog(
        lambda key, data: client.put_object(Bucket=bucket, Key=f"{PREFIX}{key}", Body=data) and None,
        opened,
        lambda seconds, path: trail_file(logs.cloudtrail(seconds, {"secretId": copy_of(path)})),
        lambda text: trail_file({"eventTime": [text]}),
        ".json.gz",
    )


class TestLogBucket(SourceContract):
    @pytest.fixture
    def log(self, delivered: DeliveredLog) -> DeliveredLog:
        return delivered


def test_the_rendered_policy_is_enough_and_without_it_nothing_is_read(
    aws: LocalAws, bucket: str, delivered: DeliveredLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in PATHS[:3]:
        delivered.add(path)
    settings = CloudTrailBucketSettings.model_validate(
        {"kind": "cloudtrail-bucket", "bucket": bucket, "prefix": PREFIX, "region": "us-east-1"}
    )
    (policy,) = settings.rights("access-log-aws", "a test")
    become(aws, [policy.text], monkeypatch)
    assert paths(records(delivered.open())) == list(PATHS[:3])
    become(aws, [policy.text.replace(bucket, "another-bucket")], monkeypatch)
    with pytest.raises(Denied, match=bucket):
        delivered.open().read(None, 10)


def test_a_prefix_of_several_regions_is_refused(delivered: DeliveredLog) -> None:
    """S3 lists one region after the other: what came of the first once the second was read would be passed by."""
    delivered.add(PATHS[0])
    delivered.put("us-east-1/2026/11/24/0001.json.gz", trail_file(logs.cloudtrail(1, {"secretId": "ml-key"})))
    with pytest.raises(Invalid, match="us-east-1"):
        delivered.open().read(None, 10)


def test_a_bucket_that_is_not_there_and_one_that_is_down_are_errors(aws: LocalAws, delivered: DeliveredLog) -> None:
    settings = {"prefix": PREFIX, "region": "us-east-1"}
    base = opening(aws.directory)
    with pytest.raises(NotFound, match="no-such-bucket"):
        open_bucket(base, bucket="no-such-bucket", endpoint_url=aws.endpoint_url, **settings).read(None, 10)
    with pytest.raises(Unavailable):
        open_bucket(base, bucket="x-y-z", endpoint_url="http://127.0.0.1:9", **settings).read(None, 10)
