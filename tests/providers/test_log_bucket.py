"""An access trail in an S3 bucket, with least rights."""

import secrets
from collections.abc import Iterator

import boto3
import pytest
from pytest_httpserver import HTTPServer

from keyturn.access_log.sources import object_log
from keyturn.catalogue.access_logs.clouds import CloudTrailBucketSettings
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.access_source import AccessSource
from keyturn.providers.aws.log_bucket import open_bucket, window_begin
from local.emulators.aws import LocalAws
from tests.access_log import cloud_logs as logs
from tests.access_log.cloud_logs import DeliveredLog, copy_of, opening, trail_file
from tests.contracts.access_source import PATHS, SourceContract, drained, paths, records
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


def trail_key(moment: str, name: str) -> str:
    """As CloudTrail names them."""
    return f"2026/11/{moment[6:8]}/111122223333_CloudTrail_eu-central-1_{moment}Z_{name}.json.gz"


@pytest.mark.attack
def test_a_late_object_is_read_once_within_the_look_back_time(
    delivered: DeliveredLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the turn of a day; what lies further back is passed by."""
    monkeypatch.setattr(object_log, "REMEMBERED", 3)

    def put(moment: str, *named: str) -> None:
        for seconds, path in enumerate(named):
            record = logs.cloudtrail(seconds, {"secretId": copy_of(path)})
            delivered.put(trail_key(moment, path.replace("/", "-")), trail_file(record))

    for minute in range(10, 20):
        put(f"20261125T00{minute}", "ml/key")
    *_, last = drained(delivered.open(), None)
    put("20261125T0012", "shop/cdn", "shop/smtp")
    put("20261124T2230", "ops/pager")
    put("20261124T2200", "payments/card")
    put("20261125T0021", "ml/database")
    *batches, last = drained(delivered.open(), last.cursor)
    taken = [record.access.path for batch in batches for record in batch.records]
    assert sorted(taken[:3]) == ["ops/pager", "shop/cdn", "shop/smtp"]
    assert taken[3:] == ["ml/database"]
    assert not any(batch.gaps for batch in batches)
    put("20261125T0022", "ml/key")
    assert paths(records(delivered.open(), last.cursor)) == ["ml/key"]


def test_what_late_objects_are_looked_for_behind_is_two_hours_before_the_place() -> None:
    key = PREFIX + trail_key("20261125T0112", "x")
    begin = window_begin(key)
    assert begin == f"{PREFIX}2026/11/24/111122223333_CloudTrail_eu-central-1_20261124T2312"
    assert begin < PREFIX + trail_key("20261124T2312", "a") < key
    assert window_begin(f"{PREFIX}2026/11/24/0001.json.gz") is None
    assert window_begin(PREFIX + trail_key("20269924T2312", "a")) is None


@pytest.mark.attack
def test_a_proxys_answer_is_not_taken_for_an_empty_bucket_or_broken_file(aws: LocalAws, httpserver: HTTPServer) -> None:
    settings = {"bucket": "trail", "prefix": PREFIX, "region": "us-east-1", "endpoint_url": httpserver.url_for("")}
    source = open_bucket(opening(aws.directory), **settings)
    page = "<html>Please log in</html>"
    httpserver.expect_ordered_request("/trail").respond_with_data(page, content_type="text/html")
    with pytest.raises(Unavailable, match="IsTruncated"):
        source.read(None, 10)
    listed = f"<Key>{PREFIX}1.json.gz</Key><Size>26</Size><LastModified>2026-11-24T12:00:00Z</LastModified>"
    answer = f"<R><IsTruncated>false</IsTruncated><Contents>{listed}</Contents></R>"
    httpserver.expect_ordered_request("/trail").respond_with_data(answer, content_type="application/xml")
    httpserver.expect_ordered_request(f"/trail/{PREFIX}1.json.gz").respond_with_data(page, content_type="text/html")
    with pytest.raises(Unavailable, match="ETag"):
        source.read(None, 10)


def test_a_bucket_that_is_not_there_and_one_that_is_down_are_errors(aws: LocalAws, delivered: DeliveredLog) -> None:
    settings = {"prefix": PREFIX, "region": "us-east-1"}
    base = opening(aws.directory)
    with pytest.raises(NotFound, match="no-such-bucket"):
        open_bucket(base, bucket="no-such-bucket", endpoint_url=aws.endpoint_url, **settings).read(None, 10)
    with pytest.raises(Unavailable):
        open_bucket(base, bucket="x-y-z", endpoint_url="http://127.0.0.1:9", **settings).read(None, 10)
