"""Telling consumers by Pub/Sub, and taking it from a subscription, against an emulator on loopback."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers import reading
from keyturn.providers.deliver_notices import sign_notice
from keyturn.providers.gcp import pubsub
from keyturn.providers.gcp.pubsub import PubSubReader, PubSubTopic
from local.emulators.pubsub import Emulator, LocalPubSub
from local.support.ports import free_port
from tests.support.hooks import eventually

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
TOPIC, SUBSCRIPTION = "projects/ml/topics/notices", "projects/ml/subscriptions/jobs"
LEAK = "hunter2"


class Place:
    """A topic, and an application that is subscribed to it."""

    def __init__(self, server: LocalPubSub) -> None:
        self.server, self.notices, self.broken = server, list[Notice](), False
        server.emulator.create(TOPIC, SUBSCRIPTION)
        receiver = Receiver([KEY])
        self.reader = PubSubReader(
            SUBSCRIPTION, lambda text: receiver.handle_message(text, self.take), endpoint=server.endpoint
        )

    def take(self, told: Notice) -> None:
        if self.broken:
            raise ConnectionError
        self.notices.append(told)

    def send(self, topic: str = TOPIC) -> None:
        send(self.server.endpoint, topic)


def send(endpoint: str, topic: str = TOPIC) -> None:
    with closing(PubSubTopic("trainer", topic=topic, endpoint=endpoint)) as sender:
        sender.send(sign_notice([KEY], NOTICE, "msg_7", "trainer"), 5)


@pytest.fixture
def place() -> Iterator[Place]:
    with LocalPubSub(Emulator()) as server:
        made = Place(server)
        with closing(made.reader):
            yield made


def test_what_is_published_is_taken_once(place: Place) -> None:
    place.send()
    (message,) = place.server.emulator.waiting(SUBSCRIPTION)
    assert message["attributes"] == {"webhook-id": "msg_7"}
    assert place.reader.read_once() == 1
    assert place.notices == [NOTICE]
    assert place.reader.read_once() == 0


def test_what_the_application_could_not_take_comes_again(place: Place) -> None:
    place.send()
    place.broken = True
    assert place.reader.read_once() == 0
    place.broken = False
    assert place.reader.read_once() == 1


def test_what_is_no_notice_is_left_for_the_dead_letter_topic(place: Place) -> None:
    with closing(pubsub._PubSub("another", place.server.endpoint, "")) as other:
        for data in ("bm90IG91cnM=", "%%%", ""):
            other.call("publish", f"{TOPIC}:publish", {"messages": [{"data": data, "attributes": {"a": "b"}}]}, 5)
    assert place.reader.read_once() == 0
    assert len(place.server.emulator.waiting(SUBSCRIPTION)) == 3
    assert place.notices == []


@pytest.mark.parametrize("name", ["jobs", TOPIC, "projects/ml/subscriptions/"])
def test_a_subscription_is_named_with_its_project(name: str) -> None:
    with pytest.raises(Invalid, match="its project is missing"):
        PubSubReader(name, lambda text: 200, endpoint="127.0.0.1:1")


def test_a_topic_that_is_not_there_and_one_that_it_may_not_use_are_named(place: Place) -> None:
    with pytest.raises(NotFound, match="notify trainer") as absent:
        place.send("projects/ml/topics/none")
    assert "Make the topic" in absent.value.hint
    place.server.emulator.denied.add("pubsub.topics.publish")
    with pytest.raises(Denied, match="notify trainer") as denied:
        place.send()
    assert "roles/pubsub.publisher" in denied.value.hint


@pytest.mark.parametrize(
    ("status", "error"), [(400, Invalid), (401, Denied), (429, Throttled), (500, Unavailable), (307, Invalid)]
)
def test_every_refusal_is_an_error_of_its_class_and_quotes_nothing(
    httpserver: HTTPServer, status: int, error: type[KeyturnError]
) -> None:
    httpserver.expect_request(f"/v1/{TOPIC}:publish").respond_with_data(LEAK, status, {"location": "/elsewhere"})
    with pytest.raises(error) as caught:
        send(f"127.0.0.1:{httpserver.port}")
    assert LEAK not in repr(caught.value)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("answer", [{}, {"messageIds": []}, {"messageIds": "12"}, {"messageIds": ["1", "2"]}, []])
def test_a_broker_that_names_no_message_has_taken_none(httpserver: HTTPServer, answer: Any) -> None:
    httpserver.expect_request(f"/v1/{TOPIC}:publish").respond_with_json(answer)
    with pytest.raises(Unavailable):
        send(f"127.0.0.1:{httpserver.port}")


@pytest.mark.parametrize("answer", [{"receivedMessages": [{}]}, {"receivedMessages": 7}, {"receivedMessages": [7]}])
def test_an_answer_of_another_shape_is_no_message(httpserver: HTTPServer, answer: Any) -> None:
    httpserver.expect_request(f"/v1/{SUBSCRIPTION}:pull").respond_with_json(answer)
    reader = PubSubReader(SUBSCRIPTION, lambda text: 200, endpoint=f"127.0.0.1:{httpserver.port}")
    with closing(reader), pytest.raises(Unavailable, match="not what its API promises"):
        reader.read_once()


def test_nothing_is_sent_in_clear_to_another_machine() -> None:
    for endpoint in ("pubsub.example.com:80", "192.0.2.1:8085", "localhost"):
        with pytest.raises(Invalid, match="not a loopback"):
            PubSubTopic("trainer", topic=TOPIC, endpoint=endpoint)


def test_a_service_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        send(f"127.0.0.1:{free_port()}")


def test_a_subscription_that_has_nothing_for_long_is_no_error(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "LONG_PULL", 0.1)
    over = threading.Event()

    def hold(_: Any) -> Any:
        over.wait(5)

    httpserver.expect_request(f"/v1/{SUBSCRIPTION}:pull").respond_with_handler(hold)
    with closing(PubSubReader(SUBSCRIPTION, lambda text: 200, endpoint=f"127.0.0.1:{httpserver.port}")) as reader:
        assert reader.read_once() == 0
    over.set()


def test_a_reader_reads_until_it_is_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAUSE", 0.01)
    place.server.emulator.answer = failing_once(place.server.emulator)  # type: ignore[method-assign]
    thread = threading.Thread(target=place.reader.run)
    thread.start()
    place.send()
    assert eventually(lambda: place.notices == [NOTICE])
    place.reader.stop()
    thread.join(10)
    assert not thread.is_alive()


def failing_once(emulator: Emulator) -> Any:
    """An emulator's answers, of which the first pull's is none."""
    answer, asked = emulator.answer, list[str]()

    def fails(method: str, path: str, body: bytes) -> Any:
        if path.endswith(":pull") and not asked:
            asked.append(path)
            raise RuntimeError
        return answer(method, path, body)

    return fails
