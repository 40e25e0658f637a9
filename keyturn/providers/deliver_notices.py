"""Notices to consumers: signatures per Standard Webhooks 1.0, and retries."""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from keyturn.core.errors import Invalid, Throttled, TransientError
from keyturn.core.notifications.messages import ID, SIGNATURE, TIMESTAMP, SignedMessage
from keyturn.core.notifications.notices import Notice
from keyturn.core.ports.consumers import NoticeSender
from keyturn.core.sensitive import Sensitive

DOING: Final = "notify"
NOTICE_LIMIT: Final = 60.0
"""Seconds, with all attempts and waits."""
LEAST: Final = 0.1


def backoff(attempt: int, base: float, cap: float, jitter: float) -> float:
    """Source: "Exponential Backoff And Jitter" (AWS Architecture Blog), full jitter."""
    return jitter * min(cap, base * 2.0 ** min(attempt - 1, 64))


def utc_now() -> datetime:
    return datetime.now(UTC)


def sign_notice(
    keys: Sequence[Sensitive], notice: Notice, message_id: str, name: str, place: str = "", at: datetime | None = None
) -> SignedMessage:
    """Signed by each of ``keys``, ``at`` a time (now); a receiver needs only one.

    Raises Invalid for an unusable key, naming its ``place`` in the hub.
    """
    now, body = at or datetime.now(UTC), notice.to_json()
    try:
        signatures = [Webhook(key.reveal()).sign(message_id, now, body) for key in keys]
    except (ValueError, EmptyWebhookSecretError):
        where = f" ({place} in Keyturn's own mount of the hub)" if place else ""
        hint = "Write one to its field `key`: whsec_ and the base64 of 24 to 64 random bytes"
        raise Invalid(DOING, name, f"its webhook key{where} is empty or not base64", hint) from None
    headers = {ID: message_id, TIMESTAMP: str(int(now.timestamp())), SIGNATURE: " ".join(signatures)}
    return SignedMessage(headers, body)


def deliver_notice(
    sender: NoticeSender,
    keys: Sequence[Sensitive],
    notice: Notice,
    *,
    message_id: str,
    timeout: float,
    name: str,
    attempts: int,
    place: str = "",
    base: float = 0.5,
    cap: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> None:
    """One message id for all attempts, each signed with the time ``now``; raises the last error.

    Waits grow from ``base`` to ``cap`` seconds; a requested wait counts up to ``cap``. The whole takes at most a
    minute, or ``attempts`` timeouts if longer.
    """
    until = clock() + max(NOTICE_LIMIT, attempts * timeout)
    for attempt in range(1, attempts + 1):
        left = max(LEAST, min(timeout, until - clock()))
        try:
            return sender.send(sign_notice(keys, notice, message_id, name, place, now()), left)
        except TransientError as error:
            requested = error.retry_after if isinstance(error, Throttled) else None
            pause = max(backoff(attempt, base, cap, jitter()), min(requested or 0.0, cap))
            if attempt == attempts or clock() + pause >= until:
                raise
        sleep(pause)
    raise Invalid(DOING, name, f"{attempts} attempts are none", "Allow one attempt at least")
