"""The signing keys for one consumer: the current key, and the next one during a replacement.

Both then sign each notice, with separate signatures in one header: Standard Webhooks 1.0, "Signature header".
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
"""The fields of a consumer's state entry; other fields belong to people and stay."""

LENGTH: Final = 32
"""Random bytes of a key: Standard Webhooks requires 24 to 64."""


@dataclass(frozen=True)
class WebhookKeys:
    """The keys of one consumer. ``next`` exists while it is replacing ``key``."""

    key: Sensitive
    next: Sensitive | None = None

    @property
    def all(self) -> tuple[Sensitive, ...]:
        """The keys that sign notices and that a receiver accepts."""
        return (self.key, self.next) if self.next else (self.key,)

    @staticmethod
    def from_data(path: str, data: Mapping[str, Any]) -> "WebhookKeys":
        """Parse the stored form. Raises Invalid, naming the entry, if it contains no key."""
        key, following = data.get(KEY), data.get(NEXT)
        if not isinstance(key, str) or not isinstance(following, str | None):
            hint = f"Write the consumer's webhook key to the field `{KEY}` at {path} in Keyturn's own mount of the hub"
            raise Invalid("read", path, "it holds no webhook key", hint)
        return WebhookKeys(Sensitive(key), Sensitive(following) if following else None)


def with_next(data: Mapping[str, Any], following: Sensitive) -> dict[str, Any]:
    """The entry with the next key added."""
    return {**data, NEXT: following.reveal()}


def with_next_alone(data: Mapping[str, Any]) -> dict[str, Any]:
    """The entry after the next key has replaced the current one."""
    return {name: value for name, value in data.items() if name != NEXT} | {KEY: data[NEXT]}


def generate_webhook_key() -> Sensitive:
    """Return a new key in the format of Standard Webhooks."""
    return Sensitive(f"whsec_{base64.b64encode(secrets.token_bytes(LENGTH)).decode()}")
