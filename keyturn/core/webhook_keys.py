"""What signs notices to one consumer: a key, and while it is being replaced the next one beside it.

Both sign a notice then, each with a signature of its own in the one header: Standard Webhooks 1.0, "Signature header".
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive

KEY: Final = "key"
NEXT: Final = "next"
"""The fields of a consumer's entry in Keyturn's own mount; others are people's, and stay as they are."""

LENGTH: Final = 32
"""Random bytes of a key: Standard Webhooks asks for 24 to 64."""


@dataclass(frozen=True)
class WebhookKeys:
    """The keys of one consumer. ``next`` is there while it is to take the place of ``key``."""

    key: Sensitive
    next: Sensitive | None = None

    @property
    def all(self) -> tuple[Sensitive, ...]:
        """What notices are signed with, and what a receiver accepts."""
        return (self.key, self.next) if self.next else (self.key,)

    @staticmethod
    def from_data(path: str, data: Mapping[str, Any]) -> "WebhookKeys":
        """As the hub keeps it. Raises Invalid, naming the entry, where there is no key in it."""
        key, following = data.get(KEY), data.get(NEXT)
        if not isinstance(key, str) or not isinstance(following, str | None):
            hint = f"Write the consumer's webhook key to the field `{KEY}` at {path} in Keyturn's own mount of the hub"
            raise Invalid("read", path, "it holds no webhook key", hint)
        return WebhookKeys(Sensitive(key), Sensitive(following) if following else None)


def with_next(data: Mapping[str, Any], following: Sensitive) -> dict[str, Any]:
    """The entry with the next key beside the one that signs."""
    return {**data, NEXT: following.reveal()}


def with_next_alone(data: Mapping[str, Any]) -> dict[str, Any]:
    """The entry once the next key has taken the other one's place."""
    return {name: value for name, value in data.items() if name != NEXT} | {KEY: data[NEXT]}


def generate_webhook_key() -> Sensitive:
    """A new key, as Standard Webhooks writes it."""
    return Sensitive(f"whsec_{base64.b64encode(secrets.token_bytes(LENGTH)).decode()}")
