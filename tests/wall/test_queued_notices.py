"""Notices in a queue, channel or directory can't be forged or replayed."""

import json
import os
import time
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import find_problems
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.client.webhooks.receiver import BODY_LIMIT, Receiver
from keyturn.core.notifications.messages import SIGNATURE, TIMESTAMP, SignedMessage
from keyturn.core.notifications.notices import SECRET_ROTATED, Notice, message_id
from keyturn.core.sensitive import Sensitive
from keyturn.providers.deliver_notices import sign_notice

KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER_KEY = Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
NOTICE = Notice(SECRET_ROTATED, "ml-training/database", 7, datetime(2025, 3, 1, 12, 30, tzinfo=UTC))
ID = message_id(NOTICE.secret_path, NOTICE.version, NOTICE.event)


def signed(*keys: Sensitive) -> SignedMessage:
    return sign_notice(keys or (KEY,), NOTICE, ID, "trainer")


def changed(message: SignedMessage, **headers: str) -> str:
    """The message with other headers than those that were signed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SignedMessage({**message.headers, **named}, message.body).to_json()


def wrapped(text: str) -> str:
    """As AWS SNS puts a message into one of its own."""
    return json.dumps({"Type": "Notification", "MessageId": "m", "TopicArn": "a", "Message": text})


@pytest.mark.parametrize(
    "text",
    [
        signed(OTHER_KEY).to_json(),
        changed(signed(), webhook_id="msg_another"),
        changed(signed(), webhook_id=""),
        changed(signed(), webhook_timestamp=str(int(time.time()) - 60)),
        changed(signed(), webhook_timestamp="soon"),
        changed(signed(), webhook_timestamp="9" * 5000),
        changed(signed(), webhook_timestamp="²"),
        changed(signed(), webhook_signature=""),
        changed(signed(), webhook_signature="v1,é"),
        changed(signed(), webhook_signature=signed().headers[SIGNATURE].replace("v1,", "v2,")),
        SignedMessage(signed().headers, signed().body.replace(":7,", ":8,")).to_json(),
        SignedMessage({TIMESTAMP: str(int(time.time()))}, signed().body).to_json(),
        wrapped(changed(signed(), webhook_id="msg_another")),
    ],
)
def test_a_message_without_a_valid_signature_is_refused(text: str) -> None:
    handled: list[Notice] = []
    assert Receiver([KEY]).handle_message(text, handled.append) == HTTPStatus.UNAUTHORIZED
    assert handled == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "[]",
        "{}",
        "[" * 100_000,
        '{"headers":{},"body":7}',
        '{"headers":[],"body":""}',
        '{"headers":{"webhook-id":7},"body":""}',
        '{"Type":"Notification"}',
        '{"Type":"Notification","Message":7}',
        wrapped(wrapped(signed().to_json())),
        " " * (BODY_LIMIT + 1),
        b"\xff\xfe",
    ],
)
def test_a_malformed_message_is_refused_and_not_quoted(text: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert Receiver([KEY]).handle_message(text, lambda notice: None) == HTTPStatus.BAD_REQUEST
    assert "hunter2" not in caplog.text


def test_a_replayed_old_message_is_not_handled_again() -> None:
    handled: list[Notice] = []
    receiver, text = Receiver([KEY]), signed().to_json()
    for _ in range(3):
        assert receiver.handle_message(text, handled.append) == HTTPStatus.OK
    assert handled == [NOTICE]


def test_an_old_queue_message_is_not_accepted_as_a_webhook_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application with an address takes none that is older than five minutes, wherever somebody got it."""
    message, receiver = signed(), Receiver([KEY])
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Later)
    body = message.body.encode()
    assert receiver.handle(message.headers, body, lambda notice: None) == HTTPStatus.UNAUTHORIZED


class Later(datetime):
    """Ten minutes from now."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(time.time() + 600, tz)


ELSEWHERE: dict[str, dict[str, Any]] = {
    "aws-sqs": {"queue_arn": "arn:aws:sqs:eu-central-1:999999999999:jobs"},
    "aws-sns": {"topic_arn": "arn:aws:sns:eu-central-1:999999999999:jobs"},
    "azure-service-bus": {"namespace_url": "https://evil.servicebus.windows.net", "queue": "jobs"},
    "gcp-pubsub": {"topic": "projects/evil/topics/jobs"},
    "redis": {"host": "evil.example.com", "channel": "c", "login": "webhooks/app/login"},
    "http": {"url": "https://evil.example.com"},
    "process": {"directory": "/srv/evil"},
}
"""Of each kind of consumer, one at a place that is not ours."""


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_no_notice_goes_to_an_address_that_the_operators_file_does_not_list(tmp_path: Path, kind: str) -> None:
    allowed = {"hosts": ["*.example.org"], "accounts": ["111122223333", "ml"], "directories": ["/run/keyturn"]}
    files = tmp_path / "catalogue"
    files.mkdir()
    entry = {"kind": kind, "signing_key": "webhooks/app", **ELSEWHERE[kind]}
    (files / "all.yaml").write_text(json.dumps({"consumers": {"app": entry}}))
    (tmp_path / "policy").write_text(json.dumps(allowed))
    assert find_problems(files, os.environ) == []
    (flaw,) = find_problems(files, {VARIABLE: str(tmp_path / "policy")})
    assert "the operator's file does not allow" in str(flaw) or "the operator's file lists no directory" in str(flaw)
