"""Notices to consumers over SQS and SNS, against the local AWS."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import boto3
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.catalogue.consumers.aws import SnsSettings, SqsSettings
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers import reading
from keyturn.providers.aws.queues import SnsTopic, SqsQueue, SqsReader
from keyturn.providers.deliver_notices import sign_notice
from local.emulators.aws import LocalAws
from tests.support import local_aws
from tests.support.hooks import eventually
from tests.support.lab import fresh

pytestmark = pytest.mark.sampled(4, of="file")

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
REGION, ACCOUNT = "eu-central-1", "123456789012"


def notice(version: int = 7) -> Notice:
    return Notice(SECRET_ROTATED, "ml-training/database", version, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))


class Place:
    """A queue and a topic that the queue is subscribed to, and an application that reads the queue."""

    def __init__(self, aws: LocalAws, suffix: str = "") -> None:
        self.aws, self.notices, self.broken = aws, list[Notice](), False
        name = f"keyturn-{fresh()}"
        self.queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}{suffix}"
        self.topic_arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}{suffix}"
        fifo = {"FifoQueue": "true"} if suffix else {}
        with closing(self.client("sqs")) as sqs:
            # Told at once again what was not taken.
            sqs.create_queue(QueueName=f"{name}{suffix}", Attributes={"VisibilityTimeout": "0", **fifo})
        receiver = Receiver([KEY])
        self.reader = SqsReader(
            self.queue_arn, lambda text: receiver.handle_message(text, self.take), endpoint_url=aws.endpoint_url
        )

    def client(self, service: str) -> Any:
        make: Any = boto3.Session().client
        key = local_aws.key_of(self.aws)
        return make(service, region_name=REGION, endpoint_url=self.aws.endpoint_url, **key)

    def take(self, told: Notice) -> None:
        if self.broken:
            raise ConnectionError
        self.notices.append(told)

    def subscribe(self) -> None:
        with closing(self.client("sns")) as sns:
            sns.create_topic(Name=self.topic_arn.rpartition(":")[2])
            sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=self.queue_arn)

    def queue(self) -> SqsQueue:
        return SqsQueue("trainer", self.queue_arn, endpoint_url=self.aws.endpoint_url)

    def topic(self) -> SnsTopic:
        return SnsTopic("trainer", self.topic_arn, endpoint_url=self.aws.endpoint_url)

    def close(self) -> None:
        self.reader.close()


@pytest.fixture
def place(aws: LocalAws) -> Iterator[Place]:
    with closing(Place(aws)) as made:
        yield made


def send(sender: SqsQueue | SnsTopic, version: int = 7, sent_id: str = "msg_1") -> None:
    with closing(sender):
        sender.send(sign_notice([KEY], notice(version), sent_id, "trainer"), 5)


def test_what_is_laid_into_a_queue_is_taken_from_it_once(place: Place) -> None:
    send(place.queue())
    assert place.reader.read_once(0) == 1
    assert place.notices == [notice()]
    assert place.reader.read_once(0) == 0


def test_what_a_topic_passes_on_is_taken_too(place: Place) -> None:
    place.subscribe()
    send(place.topic())
    assert place.reader.read_once(0) == 1
    assert place.notices == [notice()]


def test_what_the_application_could_not_take_stays_in_the_queue(place: Place) -> None:
    send(place.queue())
    place.broken = True
    assert place.reader.read_once(0) == 0
    place.broken = False
    assert place.reader.read_once(0) == 1
    assert place.notices == [notice()]


def test_a_queue_that_drops_repeats_is_told_what_is_one(aws: LocalAws) -> None:
    with closing(Place(aws, ".fifo")) as place:
        for version in (7, 7):
            send(place.queue(), version, "msg_7")
        send(place.queue(), 8, "msg_8")
        assert place.reader.read_once(0) == 2
        assert [told.version for told in place.notices] == [7, 8]


def test_a_receipt_that_is_good_no_more_ends_nothing(aws: LocalAws, httpserver: HTTPServer) -> None:
    text = sign_notice([KEY], notice(), "msg_7", "trainer").to_json()
    handled: list[str] = []

    def handle(text: str) -> int:
        handled.append(text)
        return 200

    def answer(request: Request) -> Response:
        if request.headers["x-amz-target"].endswith("ReceiveMessage"):
            return Response(json.dumps({"Messages": [{"Body": text, "ReceiptHandle": "r"}]}), HTTPStatus.OK)
        refusal = {"__type": "com.amazonaws.sqs#ReceiptHandleIsInvalid", "message": "The receipt handle has expired."}
        return Response(json.dumps(refusal), HTTPStatus.BAD_REQUEST)

    httpserver.expect_request("/").respond_with_handler(answer)
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:slow"
    with closing(SqsReader(arn, handle, endpoint_url=httpserver.url_for("").rstrip("/"))) as reader:
        assert reader.read_once(0) == 0
    assert handled == [text]


def test_what_is_not_there_is_named_with_its_remedy(place: Place) -> None:
    with pytest.raises(NotFound, match="notify trainer") as caught:
        send(SqsQueue("trainer", f"{place.queue_arn}-2", endpoint_url=place.aws.endpoint_url))
    assert "its ARN" in caught.value.hint
    with pytest.raises(NotFound, match="notify trainer"):
        send(place.topic())
    for name in ("nightly-training", "https://sqs.eu-central-1.amazonaws.com/111122223333/nightly-training"):
        with pytest.raises(Invalid, match="it is no ARN"):
            SqsReader(name, lambda text: 200)


@pytest.mark.attack
def test_the_rendered_policy_allows_notices_to_this_consumer_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.subscribe()
    about = {"signing_key": "webhooks/trainer", "endpoint_url": place.aws.endpoint_url}
    by_queue = SqsSettings.model_validate({"kind": "aws-sqs", "queue_arn": place.queue_arn, **about})
    by_topic = SnsSettings.model_validate({"kind": "aws-sns", "topic_arn": place.topic_arn, **about})
    (document,) = by_topic.rights("notices-trainer", "made")
    local_aws.become(place.aws, [document.text], monkeypatch)
    send(place.topic())
    with pytest.raises(Denied, match="SendMessage"):
        send(place.queue())
    (document,) = by_queue.rights("notices-trainer", "made")
    local_aws.become(place.aws, [document.text], monkeypatch)
    send(place.queue())
    reader = SqsReader(place.queue_arn, lambda _: 200, endpoint_url=place.aws.endpoint_url)
    with closing(reader), pytest.raises(Denied, match="ReceiveMessage"):
        reader.read_once(0)
    other = f"arn:aws:sqs:{REGION}:{ACCOUNT}:another-{fresh()}"
    with pytest.raises(Denied) as caught:
        send(SqsQueue("trainer", other, endpoint_url=place.aws.endpoint_url))
    assert "Allow sqs:SendMessage" in caught.value.hint


@pytest.mark.parametrize("answer", [{}, {"MessageId": ""}, {"MessageId": "m", "MD5OfMessageBody": "0" * 32}])
@pytest.mark.attack
def test_a_broker_that_confirms_nothing_or_something_else_has_taken_nothing(
    aws: LocalAws, httpserver: HTTPServer, answer: dict[str, str]
) -> None:
    httpserver.expect_request("/").respond_with_json(answer, content_type="application/x-amz-json-1.0")
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:lying"
    with pytest.raises(Unavailable, match="another message"):
        send(SqsQueue("trainer", arn, endpoint_url=httpserver.url_for("").rstrip("/")))


def test_the_digest_that_counts_is_that_of_the_text(aws: LocalAws, httpserver: HTTPServer) -> None:
    def confirm(request: Request) -> Response:
        digest = hashlib.md5(request.get_json(force=True)["MessageBody"].encode(), usedforsecurity=False).hexdigest()
        return Response(json.dumps({"MessageId": "m", "MD5OfMessageBody": digest}), HTTPStatus.OK)

    httpserver.expect_request("/").respond_with_handler(confirm)
    send(SqsQueue("trainer", f"arn:aws:sqs:{REGION}:{ACCOUNT}:honest", endpoint_url=httpserver.url_for("").rstrip("/")))


def test_a_topic_that_names_no_message_has_taken_nothing(aws: LocalAws, httpserver: HTTPServer) -> None:
    xml = "<PublishResponse><PublishResult></PublishResult></PublishResponse>"
    httpserver.expect_request("/").respond_with_data(xml, content_type="text/xml")
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:lying"
    with pytest.raises(Unavailable, match="names no message"):
        send(SnsTopic("trainer", arn, endpoint_url=httpserver.url_for("").rstrip("/")))


def test_a_reader_reads_until_it_is_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "PAUSE", 0.01)
    monkeypatch.setattr(reading, "LASTING", 0.01)
    read = place.reader.read_once
    failures = [KeyError("hunter2"), Denied("read", "q", "no right"), Unavailable("read", "q", "no answer")]

    def read_at_times(wait: int = 0) -> int:
        if failures:
            raise failures.pop()
        return read(0)

    monkeypatch.setattr(place.reader, "read_once", read_at_times)
    thread = threading.Thread(target=place.reader.run)
    thread.start()
    send(place.queue())
    taken = eventually(lambda: place.notices == [notice()])
    place.reader.stop()
    thread.join(10)
    assert taken
    assert not thread.is_alive()
    assert "no answer" in caplog.text
    assert "KeyError" in caplog.text
    assert "hunter2" not in caplog.text
