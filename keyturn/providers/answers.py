"""What servers say over HTTP whichever they are: how long to wait, and whether their certificate was the trouble."""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(header: str, now: datetime | None = None) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3); None where it says nothing usable.

    How much of it is kept is :class:`Throttled`'s to say.
    """
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def untrusted(error: BaseException | None) -> bool:
    """Whether a certificate's check is behind it, which no retry mends, and not a broken handshake."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__context__
    return error is not None
