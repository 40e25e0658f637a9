"""The notice to a consumer about a changed secret: names and a version, never a value.

The message follows Standard Webhooks 1.0: an id that is the same on every retry, and a JSON body.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SECRET_ROTATED: Final = "secret_rotated"
SECRET_REVOKED: Final = "secret_revoked"
"""The value before this version, or this version without a replacement, was exposed and ended immediately."""

NOTICE_PATH: Final = "/api/secrets/rotation"
"""The notice endpoint below a consumer's address."""

HEALTH_PATH: Final = "/api/secrets/health"
"""The health endpoint of a consumer: whether it works with its secrets."""

_IDS: Final = "6f1d7a52-0f0b-5b0e-9a57-3c5f4f1e8d21"


@dataclass(frozen=True)
class Notice:
    """``secret_path`` has been at ``version`` since ``timestamp``, because of ``event``.

    If not ``replaced``, ``version`` was ended at ``timestamp`` without a replacement.
    """

    event: str
    secret_path: str
    version: int
    timestamp: datetime
    replaced: bool = True

    @property
    def oldest_served(self) -> int:
        """The oldest version that may be served from then on."""
        return self.version if self.replaced else self.version + 1

    def covers(self, other: "Notice") -> bool:
        """Whether this is the same notice, or a later one of the same secret."""
        return self == other or (self.oldest_served > other.oldest_served and self.timestamp >= other.timestamp)

    def to_json(self) -> str:
        """The message body; the timestamp is RFC 3339 in UTC."""
        instant = self.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")
        body = {"event": self.event, "secret_path": self.secret_path, "version": self.version, "timestamp": instant}
        if self.event == SECRET_REVOKED:
            body["replaced"] = self.replaced
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(body: str | bytes) -> "Notice":
        """Parse a body, ignoring unknown fields. Raises ValueError, which quotes nothing."""
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError("the body is not JSON") from None
        if not isinstance(fields, dict):
            raise ValueError("the body is not a JSON object")
        replaced = fields.get("replaced", True) is not False
        return Notice(
            _text(fields, "event"), _text(fields, "secret_path"), _version(fields), _instant(fields), replaced
        )


def message_id(path: str, version: int, event: str, made_at: datetime | None = None, *, replaced: bool = True) -> str:
    """The event's message id, the same for every run and retry (RFC 9562, UUID 5).

    ``made_at`` distinguishes equal version numbers after a removal, ``replaced`` this version's end from the previous
    one's.
    """
    import uuid  # deferred: code that only receives notices does not need it

    made = [made_at.astimezone(UTC).isoformat()] if made_at else []
    about = [event, path, version, *made, *([] if replaced else ["ended"])]
    return f"msg_{uuid.uuid5(uuid.UUID(_IDS), json.dumps(about)).hex}"


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not a text")
    return value


def _version(fields: dict[str, Any]) -> int:
    value = fields.get("version")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("version is not a whole number from 1")
    return value


def _instant(fields: dict[str, Any]) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(fields, "timestamp"))
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("timestamp is not RFC 3339") from None
    raise ValueError("timestamp has no offset from UTC")
