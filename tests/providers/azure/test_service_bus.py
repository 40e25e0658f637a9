"""Notices to consumers over Azure Service Bus, against a local emulator."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable, Unproven
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.azure.service_bus import ServiceBusReader, ServiceBusSender
from keyturn.providers.deliver_notices import sign_notice
from local.emulators.service_bus import LocalServiceBus
from local.support.ports import free_port
from local.support.serving import server_context
from local.support.tls import certificate_in

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
LEAK = "hunter2"


class Token:
    """What signs a call, where nobody looks at it."""

    def get_token(self, *_: str, **__: Any) -> Any:
        return type("Given", (), {"token": "token"})()


class Place:
    """A namespace, and an application that reads what it is told to."""

    def __init__(self, server: LocalServiceBus, patch: pytest.MonkeyPatch) -> None:
        self.server, self.patch, self.notices, self.broken = server, patch, list[Notice](), False
        self.receiver = Receiver([KEY])

    def take(self, told: Notice) -> None:
        if self.broken:
            raise ConnectionError
        self.notices.append(told)

    def become(self, role: str) -> None:
        for name, value in self.server.environment(role).items():
            self.patch.setenv(name, value)

    def settings(self) -> dict[str, Any]:
        return {"authority": self.server.url, "ca_file": self.server.ca_file}

    def send(self, sent_id: str = "msg_7", as_role: str = "send", **place: str) -> None:
        self.become(as_role)
        settings: dict[str, Any] = {"namespace_url": self.server.url, **place, **self.settings()}
        with closing(ServiceBusSender("trainer", **settings)) as sender:
            sender.send(sign_notice([KEY], NOTICE, sent_id, "trainer"), 5)

    def read(self, entity: str, as_role: str = "listen") -> int:
        self.become(as_role)

        def handle(text: bytes) -> int:
            return self.receiver.handle_message(text, self.take)

        with closing(ServiceBusReader(self.server.url, entity, handle, **self.settings())) as reader:
            return reader.read_once(0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service-bus")


@pytest.fixture
def place(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with LocalServiceBus(certificate, lock_seconds=30) as server:
        yield Place(server, monkeypatch)


def test_what_is_laid_into_a_queue_is_taken_from_it_once(place: Place) -> None:
    queue = place.server.emulator.create_queue("jobs")
    place.send(queue="jobs")
    assert [message.message_id for message in queue.messages.values()] == ["msg_7"]
    assert place.read("jobs") == 1
    assert (place.notices, queue.messages) == ([NOTICE], {})
    assert place.read("jobs") == 0


def test_a_lock_that_is_over_when_the_notice_is_handled_ends_nothing(place: Place) -> None:
    queue = place.server.emulator.create_queue("jobs")
    place.server.emulator.lock_seconds = 0
    place.send(queue="jobs")
    assert place.read("jobs") == 0
    assert place.notices == [NOTICE]
    place.server.emulator.lock_seconds = 30
    assert place.read("jobs") == 1, "it comes again, and is a repeat"
    assert (place.notices, queue.messages) == ([NOTICE], {})


def test_each_subscription_of_a_topic_has_its_own(place: Place) -> None:
    first, second = place.server.emulator.create_topic("notices", "trainer", "archive")
    place.send(topic="notices")
    assert place.read("notices/subscriptions/trainer") == 1
    assert (len(first.messages), len(second.messages)) == (0, 1)


def test_what_the_application_could_not_take_comes_again(place: Place) -> None:
    queue = place.server.emulator.create_queue("jobs")
    place.send(queue="jobs")
    place.broken = True
    assert place.read("jobs") == 0
    place.broken = False
    assert place.read("jobs") == 0, "it is locked still"
    next(iter(queue.messages.values())).locked_until = 0
    assert place.read("jobs") == 1


def test_a_queue_that_detects_duplicates_knows_a_repeat_by_its_id(place: Place) -> None:
    queue = place.server.emulator.create_queue("jobs", detects_duplicates=True)
    for sent_id in ("msg_7", "msg_7", "msg_8"):
        place.send(sent_id, queue="jobs")
    assert [message.message_id for message in queue.messages.values()] == ["msg_7", "msg_8"]


@pytest.mark.parametrize("address", ["http://ml.servicebus.windows.net", "ml.servicebus.windows.net"])
@pytest.mark.attack
def test_a_token_goes_to_an_https_address_alone(address: str) -> None:
    with pytest.raises(Invalid, match="is no https address"):
        ServiceBusReader(address, "jobs", lambda text: 200)


def test_what_it_may_not_do_what_is_not_there_and_what_is_full_are_told_apart(place: Place) -> None:
    queue = place.server.emulator.create_queue("jobs")
    with pytest.raises(Denied) as denied:
        place.send(queue="jobs", as_role="listen")
    assert "Data Sender" in denied.value.hint
    with pytest.raises(Denied) as denied:
        place.read("jobs", as_role="send")
    assert "Data Receiver" in denied.value.hint
    with pytest.raises(NotFound, match="does not exist") as absent:
        place.send(queue="none")
    assert absent.value.hint
    queue.full = True
    with pytest.raises(Unavailable) as full:
        place.send(queue="jobs")
    assert "full" in full.value.hint


def test_a_login_that_entra_id_refuses_is_named(place: Place) -> None:
    place.server.emulator.create_queue("jobs")
    place.become("send")
    place.patch.setenv("AZURE_CLIENT_SECRET", "another")
    sender = ServiceBusSender("trainer", namespace_url=place.server.url, queue="jobs", **place.settings())
    with closing(sender), pytest.raises(Denied, match="Entra ID gave no token"):
        sender.send(sign_notice([KEY], NOTICE, "msg_7", "trainer"), 5)


@pytest.fixture(scope="module")
def stand_in_server(certificate: Path) -> Iterator[HTTPServer]:
    made = certificate_in(certificate)
    with HTTPServer("localhost", ssl_context=server_context(made.certificate, made.key)) as server:
        yield server


@pytest.fixture
def stand_in(stand_in_server: HTTPServer) -> HTTPServer:
    """What answers in Service Bus's place, as each test says."""
    stand_in_server.clear()
    return stand_in_server


def sender_to(server: HTTPServer, certificate: Path) -> ServiceBusSender:
    ca_file, token = str(certificate_in(certificate).authority), Token()
    return ServiceBusSender(
        "trainer", namespace_url=server.url_for("").rstrip("/"), queue="jobs", ca_file=ca_file,
        credential=token,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, Unavailable), (202, Unavailable), (307, Invalid), (400, Invalid), (429, Throttled), (500, Unavailable)],
)
def test_nothing_but_201_says_that_it_was_taken(
    stand_in: HTTPServer, certificate: Path, status: int, error: type[KeyturnError]
) -> None:
    stand_in.expect_request("/jobs/messages").respond_with_data(LEAK, status, {"location": "/elsewhere"})
    with closing(sender_to(stand_in, certificate)) as sender, pytest.raises(error) as caught:
        sender.send(sign_notice([KEY], NOTICE, "msg_7", "trainer"), 5)
    assert LEAK not in repr(caught.value)
    assert len(stand_in.log) == 1


@pytest.mark.parametrize("properties", ["", "{}", "[]", "7", '{"SequenceNumber": "x", "LockToken": "y"}'])
def test_a_message_that_can_not_be_removed_is_not_handled(
    stand_in: HTTPServer, certificate: Path, properties: str
) -> None:
    stand_in.expect_request("/jobs/messages/head").respond_with_data(LEAK, 201, {"BrokerProperties": properties})
    handled: list[bytes] = []

    def handle(text: bytes) -> int:
        handled.append(text)
        return 200

    ca_file = str(certificate_in(certificate).authority)
    token: Any = Token()
    reader = ServiceBusReader(stand_in.url_for("").rstrip("/"), "jobs", handle, ca_file=ca_file, credential=token)
    with closing(reader), pytest.raises(Unavailable, match="which message"):
        reader.read_once(0)
    assert handled == []


def test_a_certificate_that_nobody_vouches_for_is_refused_before_a_token_is_sent(stand_in: HTTPServer) -> None:
    token: Any = Token()
    url = stand_in.url_for("").rstrip("/")
    sender = ServiceBusSender("trainer", namespace_url=url, queue="jobs", credential=token)
    with closing(sender), pytest.raises(Unproven, match="certificate is not trusted"):
        sender.send(sign_notice([KEY], NOTICE, "msg_7", "trainer"), 5)
    assert stand_in.log == []


def test_a_namespace_that_is_away_is_unavailable() -> None:
    token: Any = Token()
    url = f"https://localhost:{free_port()}"
    sender = ServiceBusSender("trainer", namespace_url=url, queue="jobs", credential=token)
    with closing(sender), pytest.raises(Unavailable, match="does not answer"):
        sender.send(sign_notice([KEY], NOTICE, "msg_7", "trainer"), 5)
