"""Receives notices for any web framework: verifies them, and handles each once.

    receiver = Receiver([key])
    status = receiver.handle(request.headers, request.body, reload_credential)

Signatures follow Standard Webhooks 1.0, with HMAC-SHA256. A message is valid for five minutes, and one from a queue as
long as queues keep messages:

    status = receiver.handle_message(text, reload_credential)
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from keyturn.core.errors import Denied, Invalid, KeyturnError
from keyturn.core.notifications.messages import ID, SIGNATURE, TIMESTAMP, SignedMessage
from keyturn.core.notifications.notices import NOTICE_PATH, Notice
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

BODY_LIMIT: Final = 65_536
"""Bytes; a notice needs about two hundred."""

LONGEST_LENGTH: Final = 15
"""Digits of a Content-Length; Python refuses to parse 5,000."""

QUEUED: Final = 14 * 86_400.0
"""Seconds that a message may be in a queue. AWS SQS keeps none for longer."""

AHEAD: Final = 300.0
"""Seconds that the sender's clock may be ahead (source: Standard Webhooks' libraries)."""

HINT: Final = "Check the webhook key and both clocks"

REMEMBERED: Final = 10_000
"""Message ids kept to detect repeats. A forgotten one is handled again, which repeats a read."""


class Receiver:
    """Verifies notices and passes each to the application once. Thread-safe.

    ``keys`` are all accepted keys, two during a replacement, or a function that returns them, such as
    :class:`keyturn.client.webhooks.keys.HubKeys`.
    """

    def __init__(self, keys: Sequence[Sensitive] | Callable[[], Sequence[Sensitive]]) -> None:
        self._keys = keys if callable(keys) else lambda: keys
        self._lock = threading.Lock()
        self._handled: dict[str, None] = {}
        self._under_way: set[str] = set()

    def receive(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """Return the notice in a request, after checking its signature and age.

        Raises Invalid for a body that is too large or not a notice, Denied for a signature that is missing, wrong, or
        older than five minutes.
        """
        if len(body) > BODY_LIMIT:
            raise Invalid("receive", "notice", f"its body has more than {BODY_LIMIT} bytes")
        self._verify(headers, body)
        try:
            return Notice.from_json(body)
        except ValueError as error:
            raise Invalid("receive", "notice", str(error)) from None

    def handle(self, headers: Mapping[str, str], body: bytes, on_notice: Callable[[Notice], object]) -> HTTPStatus:
        """Call ``on_notice`` unless the notice is a repeat, and return the status to answer.

        200: it returned, now or earlier. 503: it raised or is still running, or the keys can't be read, so that the
        sender tries again. 400 and 401: :meth:`receive` refuses the request. An exception is logged by its class only,
        because its text may contain a secret.
        """
        lowered = {name.lower(): text for name, text in headers.items()}
        return self._taken(lambda: (lowered.get(ID, ""), self.receive(lowered, body)), on_notice)

    def receive_message(self, text: str | bytes, good_for: float = QUEUED) -> tuple[str, Notice]:
        """The id and the notice of a message that arrived as one text, from a queue or a channel.

        It may be ``good_for`` seconds old. Raises as :meth:`receive` does.
        """
        if len(text) > BODY_LIMIT:
            raise Invalid("receive", "notice", f"its message has more than {BODY_LIMIT} bytes")
        try:
            message = SignedMessage.from_json(text)
        except ValueError as error:
            raise Invalid("receive", "notice", str(error)) from None
        if not is_recent(message, good_for) or not any(_signs(key, message) for key in self._keys()):
            raise Denied("receive", "notice", "its signature is missing, wrong, or too old", HINT)
        try:
            return message.id, Notice.from_json(message.body)
        except ValueError as error:
            raise Invalid("receive", "notice", str(error)) from None

    def handle_message(
        self, text: str | bytes, on_notice: Callable[[Notice], object], good_for: float = QUEUED
    ) -> HTTPStatus:
        """The same as :meth:`handle` for a message that arrived as one text.

        200 means that it may be deleted. Otherwise leave it for another delivery or the dead-letter queue.
        """
        return self._taken(lambda: self.receive_message(text, good_for), on_notice)

    def _taken(self, receive: Callable[[], tuple[str, Notice]], on_notice: Callable[[Notice], object]) -> HTTPStatus:
        try:
            message_id, notice = receive()
        except Invalid as error:
            log.warning("%s", error)
            return HTTPStatus.BAD_REQUEST
        except Denied as error:
            log.warning("%s", error)
            return HTTPStatus.UNAUTHORIZED
        except KeyturnError as error:
            log.warning("%s", error)
            return HTTPStatus.SERVICE_UNAVAILABLE
        return self._once(message_id, notice, on_notice)

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        if not any(_signed_with(key, dict(headers), body) for key in self._keys()):
            raise Denied("receive", "notice", "its signature is missing, wrong, or older than five minutes", HINT)

    def _once(self, message_id: str, notice: Notice, on_notice: Callable[[Notice], object]) -> HTTPStatus:
        with self._lock:
            if message_id in self._handled:
                return HTTPStatus.OK
            if message_id in self._under_way:
                return HTTPStatus.SERVICE_UNAVAILABLE
            self._under_way.add(message_id)
        handled = False
        try:
            on_notice(notice)
            handled = True
        except Exception as error:  # noqa: BLE001 - whatever the application raises, the sender must hear of it
            log.error("notice %s of %s: the application raised %s", message_id, notice, type(error).__name__)
        finally:
            self._settle(message_id, handled)
        return HTTPStatus.OK if handled else HTTPStatus.SERVICE_UNAVAILABLE

    def _settle(self, message_id: str, handled: bool) -> None:
        """Remember only a handled message; a failed one is accepted again."""
        with self._lock:
            self._under_way.discard(message_id)
            if handled:
                self._handled[message_id] = None
            if len(self._handled) > REMEMBERED:
                del self._handled[next(iter(self._handled))]


def wsgi_app(receiver: Receiver, on_notice: Callable[[Notice], object]) -> "WSGIApplication":
    """A WSGI application that accepts notices at ``POST /api/secrets/rotation`` and no other path."""

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        status = _answer(receiver, on_notice, environ)
        start_response(f"{status.value} {status.phrase}", [("content-length", "0")])
        return []

    return app


def readable_size(length: str) -> int | None:
    """How many bytes of a body to read; None for an invalid Content-Length.

    One byte over the limit is enough for a refusal.
    """
    if not (length.isascii() and length.isdigit()):
        return None
    return min(int(length), BODY_LIMIT + 1) if len(length) <= LONGEST_LENGTH else BODY_LIMIT + 1


def _answer(receiver: Receiver, on_notice: Callable[[Notice], object], environ: "WSGIEnvironment") -> HTTPStatus:
    if environ.get("PATH_INFO") != NOTICE_PATH:
        return HTTPStatus.NOT_FOUND
    if environ.get("REQUEST_METHOD") != "POST":
        return HTTPStatus.METHOD_NOT_ALLOWED
    size = readable_size(environ.get("CONTENT_LENGTH") or "")
    if size is None:
        return HTTPStatus.LENGTH_REQUIRED
    body = environ["wsgi.input"].read(size)
    named = {name[5:].replace("_", "-"): text for name, text in environ.items() if name.startswith("HTTP_")}
    return receiver.handle(named, body, on_notice)


def _signed_with(key: Sensitive, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(key.reveal()).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
        # ValueError: a body that is not UTF-8, a header or a key that is not base64.
        return False
    return True


def is_recent(message: SignedMessage, good_for: float) -> bool:
    """Whether a message was signed within ``good_for`` seconds, by this clock."""
    stamp = message.headers.get(TIMESTAMP, "")
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > LONGEST_LENGTH:
        return False
    return -AHEAD <= time.time() - int(stamp) <= good_for


def _signs(key: Sensitive, message: SignedMessage) -> bool:
    """Whether this key made one of the message's signatures."""
    headers = message.headers
    if not headers.get(ID):
        return False
    try:
        signed_at = datetime.fromtimestamp(int(headers[TIMESTAMP]), UTC)
        expected = Webhook(key.reveal()).sign(headers[ID], signed_at, message.body).encode()
    except (EmptyWebhookSecretError, ValueError):
        return False
    signatures = headers.get(SIGNATURE, "").encode().split(b" ")
    return any(hmac.compare_digest(expected, signature) for signature in signatures)
