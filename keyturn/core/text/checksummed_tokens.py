"""Tokens that scanners recognise in leaks: a prefix, random characters, and a checksum, as GitHub's.

``acme_live_`` and 36 letters and digits, the last six of which are the CRC-32 of the others in base 62. The checksum
identifies tokens offline; it is no protection. Source: GitHub, "Behind GitHub's new authentication token formats"
(2021).
"""

import re
import string
import zlib
from typing import Final

BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
CHECKSUM_LENGTH: Final = 6
"""Base 62 digits for any 32-bit number."""

PREFIX: Final = r"(?=.{2,40}$)[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*"
"""Letters, digits and single underscores, so that a double click selects the whole token."""


def checksum(text: str) -> str:
    """The CRC-32 of the random characters in base 62, with leading zeros."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def token(prefix: str, drawn: str) -> str:
    """The token for ``drawn``, random characters of base 62."""
    return f"{prefix}_{drawn}{checksum(drawn)}"


def token_flaw(text: str, prefix: str, length: int) -> str | None:
    """Return why ``text`` is not such a token, without revealing it."""
    if not text.startswith(f"{prefix}_"):
        return "it does not begin with its prefix and an underscore"
    rest = text.removeprefix(f"{prefix}_")
    if not re.fullmatch(f"[0-9A-Za-z]{{{length + CHECKSUM_LENGTH}}}", rest):
        return f"it does not have {length + CHECKSUM_LENGTH} letters and digits after its prefix"
    return None if checksum(rest[:length]) == rest[length:] else "its checksum does not fit"
