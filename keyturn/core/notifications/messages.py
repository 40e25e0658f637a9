"""A notice as it is sent: its body, and the headers that say which message it is, of when, and by whom it is signed.

Over HTTP they are headers and body. Where only a text can be sent, both stand in one JSON object, the body as a text in
it: so the signature, which is over ``id.timestamp.body`` (Standard Webhooks 1.0), is that of the very same message.
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
"""Who posts accesses, as ``LOG/NAME`` of the catalogue: by it the key is found that has to have signed the message."""
ACCESSES_PATH: Final = "/v1/accesses"
"""Where ``keyturn serve`` takes accesses that are posted."""
PREFIX: Final = "whsec_"
MOST_SIGNATURES: Final = 8
"""Signatures of one message that are looked at."""

TAKEN: Final = 200
"""What a receiver answers for a message that is done with."""
AGAIN: Final = 503
"""What it answers for one that it wants to see again."""

SNS_TYPE: Final = "Notification"
"""What AWS SNS says of a message that it has put into another one."""


@dataclass(frozen=True)
class SignedMessage:
    """The headers of a message, by their names in small letters, and its body."""

    headers: Mapping[str, str]
    body: str

    @property
    def id(self) -> str:
        """The same on every retry, whichever run sends it."""
        return self.headers[ID]

    def to_json(self) -> str:
        """The whole message as one text."""
        return json.dumps({"headers": dict(self.headers), "body": self.body}, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> "SignedMessage":
        """Read it back, also where AWS SNS has put it into a message of its own. Raises ValueError, quoting nothing."""
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
    """What signs a message by one key: Standard Webhooks 1.0, "Signature scheme". Raises ValueError for no key."""
    secret = base64.b64decode(key.reveal().removeprefix(PREFIX))
    if not secret:
        raise ValueError("the key is empty")
    content = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()}"


def is_signed(keys: Iterable[Sensitive], headers: Mapping[str, str], timestamp: int, body: bytes) -> bool:
    """Whether one of the signatures in the headers, named in small letters, is by one of these keys."""
    signatures = headers.get(SIGNATURE, "").encode().split()[:MOST_SIGNATURES]
    expected = [_signature_or_none(key, headers.get(ID, ""), timestamp, body) for key in keys]
    return any(hmac.compare_digest(each, made) for made in expected if made for each in signatures)


def _signature_or_none(key: Sensitive, message_id: str, timestamp: int, body: bytes) -> bytes | None:
    try:
        return signature(key, message_id, timestamp, body).encode()
    except ValueError:
        return None
