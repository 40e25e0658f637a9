"""Notices as one text, over a queue or channel without a reply."""

import json
import time
from datetime import UTC, datetime
from http import HTTPStatus

import pytest

from keyturn.client.webhooks.receiver import QUEUED, Receiver
from keyturn.core.errors import Unavailable
from keyturn.core.notifications.messages import SignedMessage
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import Sensitive
from keyturn.providers.deliver_notices import sign_notice

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER_KEY = Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
ID = message_id(NOTICE.secret_path, NOTICE.version, NOTICE.event)
DAY = 86_400.0


class Application:
    """Notes what it is told; ``broken`` while it can't take anything."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.broken = False

    def __call__(self, notice: Notice) -> None:
        if self.broken:
            raise ConnectionError("hunter2")
        self.notices.append(notice)


def signed(*keys: Sensitive) -> SignedMessage:
    return sign_notice(keys or (KEY,), NOTICE, ID, "trainer")


def wrapped(text: str) -> str:
    """As AWS SNS puts a message into one of its own."""
    return json.dumps({"Type": "Notification", "MessageId": "m", "TopicArn": "a", "Message": text})


@pytest.mark.parametrize("wrap", [str, wrapped])
def test_a_message_is_handled_once(wrap: type[str]) -> None:
    application, receiver, text = Application(), Receiver([KEY]), wrap(signed().to_json())
    assert receiver.handle_message(text, application) == HTTPStatus.OK
    assert receiver.handle_message(text.encode(), application) == HTTPStatus.OK
    assert application.notices == [NOTICE]


def test_it_is_the_very_message_that_goes_over_http() -> None:
    message, receiver = signed(), Receiver([KEY])
    assert receiver.receive(message.headers, message.body.encode()) == NOTICE
    assert receiver.receive_message(message.to_json()) == (ID, NOTICE)


def test_what_can_not_be_handled_now_is_handled_when_it_comes_again() -> None:
    application, receiver, text = Application(), Receiver([KEY]), signed().to_json()
    application.broken = True
    assert receiver.handle_message(text, application) == HTTPStatus.SERVICE_UNAVAILABLE
    application.broken = False
    assert receiver.handle_message(text, application) == HTTPStatus.OK
    assert application.notices == [NOTICE]


def test_where_the_keys_can_not_be_read_it_comes_again() -> None:
    def keys() -> list[Sensitive]:
        raise Unavailable("read", "webhooks/trainer", "no answer")

    assert Receiver(keys).handle_message(signed().to_json(), Application()) == HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("keys", [(KEY, OTHER_KEY), (OTHER_KEY, KEY)])
def test_one_of_two_signatures_is_enough(keys: tuple[Sensitive, ...]) -> None:
    assert Receiver([KEY]).handle_message(signed(*keys).to_json(), Application()) == HTTPStatus.OK


@pytest.mark.parametrize(
    ("seconds", "good_for", "status"),
    [
        (13 * DAY, QUEUED, HTTPStatus.OK),
        (15 * DAY, QUEUED, HTTPStatus.UNAUTHORIZED),
        (700, 600, HTTPStatus.UNAUTHORIZED),
        (-200, QUEUED, HTTPStatus.OK),
        (-400, QUEUED, HTTPStatus.UNAUTHORIZED),
    ],
)
def test_it_may_have_lain_in_its_queue_for_so_long(
    monkeypatch: pytest.MonkeyPatch, seconds: float, good_for: float, status: HTTPStatus
) -> None:
    message, now = signed(), time.time()
    monkeypatch.setattr("keyturn.client.webhooks.receiver.time.time", lambda: now + seconds)
    assert Receiver([KEY]).handle_message(message.to_json(), Application(), good_for) == status
