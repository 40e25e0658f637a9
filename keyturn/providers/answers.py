"""What servers say over HTTP whichever they are: how long to wait, whether their certificate was the trouble, and what
of an answer was not taken.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class RefusedAnswer(OSError):
    """An answer that is not taken; its text says why, to people, and holds nothing of the answer."""


class TooLate(RefusedAnswer, TimeoutError):
    """The deadline was over before the whole answer was there."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no whole answer within {seconds:g} s")


def objection(error: BaseException | None) -> str | None:
    """Why an answer was not taken, wherever in an SDK's error that lies; None where something else was wrong."""
    return next((str(cause) for cause in _causes(error) if isinstance(cause, RefusedAnswer)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it was made of: SDKs chain it, or give it as an argument."""
    waiting, passed = [error], set[int]()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in passed:
            continue
        passed.add(id(cause))
        yield cause
        inner = (getattr(cause, name, None) for name in ("reason", "inner_exception"))
        waiting += [cause.__cause__, cause.__context__, *inner, *cause.args]


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
