"""A notice as sent: body, and headers with id, time and signatures.

A text-only channel sends one JSON object with both, the body as a string, so the signature over ``id.timestamp.body``
(Standard Webhooks 1.0) is the same as over HTTP.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.core.sensitive import Sensitive

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

POSTER: Final = "keyturn-poster"
"""Header with the poster of accesses, ``LOG/NAME`` of the catalogue, whose key must sign."""
ACCESSES_PATH: Final = "/v1/accesses"
"""Path where ``keyturn serve`` accepts posted accesses."""
PREFIX: Final = "whsec_"
MOST_SIGNATURES: Final = 8
"""Maximum signatures of one message that are checked."""

TAKEN: Final = 200
"""A receiver's status for a message that needs no retry."""
AGAIN: Final = 503
"""A receiver's status that requests a retry."""

SNS_TYPE: Final = "Notification"
"""Type of an AWS SNS message that contains another message."""


@dataclass(frozen=True)
class SignedMessage:
    """A message's headers, with names in lower case, and its body."""

    headers: Mapping[str, str]
    body: str

    @property
    def id(self) -> str:
        """The message id, the same for every run and retry."""
        return self.headers[ID]

    def to_json(self) -> str:
        """The whole message as one text."""
        return json.dumps({"headers": dict(self.headers), "body": self.body}, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> "SignedMessage":
        """Parse a message, also inside an AWS SNS message. Raises ValueError, quoting nothing."""
        fields = _object(text)
        if fields.get("Type") == SNS_TYPE:
            fields = _object(fields.get("Message"))
        headers, body = fields.get("headers"), fields.get("body")
        if not isinstance(body, str) or not isinstance(headers, dict):
            raise ValueError("the message has no headers and body")
        if not all(isinstance(value, str) for value in headers.values()):
            raise ValueError("a header of the message is not a text")
        return SignedMessage({name.lower(): value for name, value in headers.items()}, body)


def _object(text: Any) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the message is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("the message is not a JSON object")
    return fields


def signature(key: Sensitive, message_id: str, timestamp: int, body: bytes) -> str:
    """A message's signature: Standard Webhooks 1.0, "Signature scheme". Raises ValueError for an invalid key."""
    secret = base64.b64decode(key.reveal().removeprefix(PREFIX))
    if not secret:
        raise ValueError("the key is empty")
    content = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()}"


def is_signed(keys: Iterable[Sensitive], headers: Mapping[str, str], timestamp: int, body: bytes) -> bool:
    """Whether a signature in the headers, named in lower case, is by one of these keys."""
    signatures = headers.get(SIGNATURE, "").encode().split()[:MOST_SIGNATURES]
    expected = [_signature_or_none(key, headers.get(ID, ""), timestamp, body) for key in keys]
    return any(hmac.compare_digest(each, made) for made in expected if made for each in signatures)


def _signature_or_none(key: Sensitive, message_id: str, timestamp: int, body: bytes) -> bytes | None:
    try:
        return signature(key, message_id, timestamp, body).encode()
    except ValueError:
        return None
