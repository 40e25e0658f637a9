"""Google Cloud Pub/Sub on loopback, as far as notices go: topics, subscriptions, publish, pull and acknowledge.

It serves from within a process, in memory. Callers are told apart by nothing, so everybody may do everything but what
it is told to deny; a message that is not acknowledged is there again at once, and no pull waits for one. Source: the
Pub/Sub API reference.
"""

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from local.emulators.gcp_iam.messages import Answer, Refusal, invalid
from local.emulators.http_server import Handler, HttpServer, Listener

MOST: Final = 1000
"""Messages that one pull may ask for."""


class Emulator:
    """Topics with their subscriptions, by whole names. ``denied`` are permissions that callers lack."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self._topics: dict[str, list[str]] = {}
        self._waiting: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def create(self, topic: str, *subscriptions: str) -> None:
        """Make a topic and what is subscribed to it."""
        self._topics[topic] = list(subscriptions)
        for subscription in subscriptions:
            self._waiting[subscription] = {}

    def waiting(self, subscription: str) -> list[dict[str, Any]]:
        """The messages that are not acknowledged."""
        return list(self._waiting[subscription].values())

    def close(self) -> None:
        """Nothing is held outside of the process."""

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """The answer to any call; refusals are answers too."""
        name, _, verb = path.removeprefix("/v1/").rpartition(":")
        verbs = {"publish": self._publish, "pull": self._pull, "acknowledge": self._acknowledge}
        try:
            if method != "POST" or verb not in verbs:
                raise Refusal(404, "NOT_FOUND", "Method not found.")
            with self._lock:
                return Answer(verbs[verb](name, document(body)))
        except Refusal as refusal:
            return refusal.answer

    def _publish(self, topic: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._insist(topic, self._topics, "pubsub.topics.publish")
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise invalid("A publish request must have at least one message.")
        if any(not message.get("data") and not message.get("attributes") for message in messages):
            raise invalid("The message must have non-empty data or attributes.")
        ids = [str(next(self._numbers)) for _ in messages]
        for subscription in self._topics[topic]:
            for number, message in zip(ids, messages, strict=True):
                self._waiting[subscription][number] = {**message, "messageId": number}
        return {"messageIds": ids}

    def _pull(self, subscription: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._insist(subscription, self._waiting, "pubsub.subscriptions.consume")
        most = body.get("maxMessages")
        if not isinstance(most, int) or not 0 < most <= MOST:
            raise invalid("maxMessages must be a positive number.")
        waiting = list(self._waiting[subscription].items())[:most]
        received = [{"ackId": f"ack-{number}", "message": message} for number, message in waiting]
        return {"receivedMessages": received} if received else {}

    def _acknowledge(self, subscription: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._insist(subscription, self._waiting, "pubsub.subscriptions.consume")
        for ack in body.get("ackIds", []):
            self._waiting[subscription].pop(str(ack).removeprefix("ack-"), None)
        return {}

    def _insist(self, name: str, there: Mapping[str, Any], permission: str) -> None:
        # Whoever may not use it is not told whether it is there.
        if permission in self.denied:
            raise Refusal(403, "PERMISSION_DENIED", "User not authorized to perform this action.")
        if name not in there:
            raise Refusal(404, "NOT_FOUND", "Resource not found.")


def document(body: bytes) -> dict[str, Any]:
    """The JSON object of a call. Raises Refusal."""
    try:
        fields = json.loads(body)
    except ValueError:
        raise invalid("Invalid JSON payload received.") from None
    if not isinstance(fields, dict):
        raise invalid("Invalid JSON payload received.")
    return fields


class _Handler(Handler):
    server_version = "PubSubEmulator"
    server: Listener[Emulator]

    def answer(self, body: bytes) -> Answer:
        return self.server.emulator.answer(self.command, self.path, body)

    def refusal(self) -> Answer:
        return invalid("The request body has no usable length.").answer

    def headers_of(self, answer: Answer, content: bytes) -> Mapping[str, str]:
        return {"Content-Type": "application/json; charset=UTF-8", "Content-Length": str(len(content))}


class LocalPubSub(HttpServer[Emulator]):
    """Serves an emulator at ``http://127.0.0.1:port`` from construction to :meth:`stop`."""

    program = "pubsub"
    handler = _Handler

    @property
    def endpoint(self) -> str:
        """As the catalogue names it."""
        return self.url.removeprefix("http://")
