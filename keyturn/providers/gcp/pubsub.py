"""Notices to consumers through Google Cloud Pub/Sub, and the reader of a subscription.

Sources: "projects.topics.publish", "projects.subscriptions.pull" and "projects.subscriptions.acknowledge" in the
Pub/Sub API reference.
"""

import base64
import binascii
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from google.auth import exceptions as auth

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.notifications.messages import ID, TAKEN, SignedMessage
from keyturn.providers.answers import reads_answers
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.gcp.iam_errors import CHECK, authorized_session, document_of, from_google, translate_refusal
from keyturn.providers.outbound import within
from keyturn.providers.reading import NoticeReader

log = logging.getLogger(__name__)

PUBSUB: Final = "https://pubsub.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/pubsub"
GRANT: Final = "Grant roles/pubsub.publisher on the topic to the caller, and enable the Pub/Sub API"
SUBSCRIBE: Final = "Grant roles/pubsub.subscriber on the subscription to the caller"
NO_TOPIC: Final = "Make the topic, or correct it in the catalogue"
AT_ONCE: Final = 10
LONG_PULL: Final = 100.0
"""Seconds for an answer that Pub/Sub delays until there is a message; Pub/Sub gives up earlier."""
DEADLINE: Final = 10.0


class _PubSub:
    def __init__(self, name: str, endpoint: str | None, grant: str) -> None:
        self.name = name
        self._grant = grant
        self._base = f"http://{endpoint}" if endpoint else PUBSUB
        self._session, self._signing_in = authorized_session(name, SCOPE, endpoint)

    def call(self, doing: str, path: str, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        try:
            with within(seconds):
                answer = self._session.request("POST", f"{self._base}/v1/{path}", json=body, timeout=seconds)
        except (auth.GoogleAuthError, requests.RequestException) as error:
            raise from_google(error, doing, self.name) from None
        if answer.status_code >= 300:
            raise translate_refusal(answer, doing, self.name, self._grant, NO_TOPIC)
        return document_of(answer, doing, self.name)

    def close(self) -> None:
        self._session.close()
        self._signing_in.close()


class PubSubTopic(_PubSub):
    """A ``NoticeSender`` to a topic; Pub/Sub confirms a message by an id."""

    def __init__(self, name: str, *, topic: str, endpoint: str | None = None) -> None:
        super().__init__(name, endpoint, GRANT)
        self._topic = topic

    def send(self, message: SignedMessage, timeout: float) -> None:
        data = base64.b64encode(message.to_json().encode()).decode()
        published = {"messages": [{"data": data, "attributes": {ID: message.id}}]}
        answer = self.call(DOING, f"{self._topic}:publish", published, timeout)
        ids = answer.get("messageIds")
        if not (isinstance(ids, list) and len(ids) == 1 and ids[0]):
            raise Unavailable(DOING, self.name, "its answer names no message", CHECK)


@reads_answers()
class PubSubReader(NoticeReader):
    """Reads notices from a subscription, in the application's process and with its login.

    ``handle`` receives each text and returns 200 if it is done, like ``Receiver.handle_message``. Others return after
    the acknowledgement deadline, as often as the dead-letter policy allows.
    """

    def __init__(self, subscription: str, handle: Callable[[bytes], int], *, endpoint: str | None = None) -> None:
        super().__init__()
        self.name = f"subscription {subscription}"
        if not re.fullmatch(r"projects/[^/]+/subscriptions/[^/]+", subscription):
            raise Invalid("open", self.name, "its project is missing", "Write projects/PROJECT/subscriptions/NAME")
        self._subscription = subscription
        self._handle = handle
        self._service = _PubSub(self.name, endpoint, SUBSCRIBE)

    def read_once(self) -> int:
        """Wait for a first message as long as Pub/Sub does, and return how many are done.

        Each is acknowledged only after it was handled. Raises KeyturnError.
        """
        begun = time.monotonic()
        try:
            answer = self._service.call("read", f"{self._subscription}:pull", {"maxMessages": AT_ONCE}, LONG_PULL)
        except Unavailable:
            if time.monotonic() - begun < LONG_PULL:
                raise
            return 0  # no message arrived
        done = 0
        for received in answer.get("receivedMessages", []):
            if self._handle(_text(received["message"])) == TAKEN:
                acknowledged = {"ackIds": [received["ackId"]]}
                self._service.call(
                    "acknowledge a message of", f"{self._subscription}:acknowledge", acknowledged, DEADLINE
                )
                done += 1
        return done

    def close(self) -> None:
        self._service.close()


def _text(message: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(message.get("data", "")), validate=True)
    except binascii.Error:
        return b""
