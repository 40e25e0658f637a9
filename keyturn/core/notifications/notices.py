"""What a consumer is told when a secret changes: names and a version, never a value.

The message follows Standard Webhooks 1.0: an id that is the same on every retry, and a JSON body.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SECRET_ROTATED: Final = "secret_rotated"
SECRET_REVOKED: Final = "secret_revoked"
"""The value before this version was ended at once, since others know it; or this one was, and nothing replaces it."""

NOTICE_PATH: Final = "/api/secrets/rotation"
"""Where a consumer takes notices, below its own address."""

HEALTH_PATH: Final = "/api/secrets/health"
"""Where a consumer tells whether it works with the secrets it holds."""

_IDS: Final = "6f1d7a52-0f0b-5b0e-9a57-3c5f4f1e8d21"


@dataclass(frozen=True)
class Notice:
    """That ``secret_path`` has been at ``version`` since ``timestamp``, and why: ``event``.

    Where it is not ``replaced``, ``version`` is what was ended at ``timestamp``, and nothing has taken its place.
    """

    event: str
    secret_path: str
    version: int
    timestamp: datetime
    replaced: bool = True

    @property
    def oldest_served(self) -> int:
        """The oldest version that may be given from then on."""
        return self.version if self.replaced else self.version + 1

    def covers(self, other: "Notice") -> bool:
        """Whether this is that notice, or one of the same secret that came after it."""
        return self == other or (self.oldest_served > other.oldest_served and self.timestamp >= other.timestamp)

    def to_json(self) -> str:
        """The body of the message; the timestamp is RFC 3339 in UTC."""
        instant = self.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")
        body = {"event": self.event, "secret_path": self.secret_path, "version": self.version, "timestamp": instant}
        if self.event == SECRET_REVOKED:
            body["replaced"] = self.replaced
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(body: str | bytes) -> "Notice":
        """Read a body back; fields it does not know are passed over. Raises ValueError, which quotes nothing."""
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
    """The id of the one message about this event, whichever run sends it and however often (RFC 9562, UUID 5).

    ``made_at`` tells apart versions of one number, where a secret was removed and is counted from 1 again; that the
    version is not ``replaced`` tells its own end apart from that of the one before it.
    """
    import uuid  # whoever only receives notices does not pay for it

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
