"""Passwords as MySQL and MariaDB store them: statements hold only these, so no log can hold a password."""

import hashlib
import hmac
import secrets
import string
from typing import Final

NATIVE: Final = "mysql_native_password"
SHA2: Final = "caching_sha2_password"
PLUGINS: Final = frozenset({NATIVE, SHA2})
SALT_LENGTH: Final = 20
ROUNDS: Final = 5
"""MySQL, ``sql/auth/sha2_password.cc``: ``$A$``, the thousands of rounds in hexadecimal, ``$``, salt and digest."""
_SALT: Final = string.ascii_letters + string.digits
_DIGITS: Final = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase


def hashed(plugin: str, password: str) -> str:
    if plugin == NATIVE:
        return native(password)
    return sha2(password, "".join(secrets.choice(_SALT) for _ in range(SALT_LENGTH)), ROUNDS)


def matches(stored: str, password: str) -> bool:
    if stored.startswith("*"):
        return hmac.compare_digest(stored, native(password))
    kind, _, rest = stored[1:].partition("$")
    rounds, _, salted = rest.partition("$")
    if kind != "A" or not rounds:
        return False
    again = sha2(password, salted[:SALT_LENGTH], int(rounds, 16))
    return hmac.compare_digest(stored.encode(), again.encode())


def native(password: str) -> str:
    # The protocol requires SHA-1; a fully random password can't be recovered from it.
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def sha2(password: str, salt: str, thousands: int) -> str:
    """SHA-256 crypt with a longer salt than crypt(3) takes."""
    digest = sha256_crypt(password.encode(), salt.encode(), thousands * 1000)
    return f"$A${thousands:03X}${salt}{digest}"


def sha256_crypt(password: bytes, salt: bytes, rounds: int) -> str:
    """Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512": steps 1 to 22 of the algorithm."""
    size = len(password)
    inner = hashlib.sha256(password + salt + password).digest()
    start = password + salt + _stretched(inner, size)
    while size:
        start += inner if size & 1 else password
        size >>= 1
    digest = hashlib.sha256(start).digest()
    long_password = _stretched(hashlib.sha256(password * len(password)).digest(), len(password))
    long_salt = _stretched(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))
    for turn in range(rounds):
        first, last = (long_password, digest) if turn % 2 else (digest, long_password)
        middle = (long_salt if turn % 3 else b"") + (long_password if turn % 7 else b"")
        digest = hashlib.sha256(first + middle + last).digest()
    return _encoded(digest)


def _stretched(digest: bytes, size: int) -> bytes:
    return (digest * (size // len(digest) + 1))[:size]


def _encoded(digest: bytes) -> str:
    starts = [21 * group % 30 for group in range(10)]
    threes = [(digest[at] << 16) | (digest[(at + 10) % 30] << 8) | digest[(at + 20) % 30] for at in starts]
    text = "".join(_digits(three, 4) for three in threes)
    return text + _digits((digest[31] << 8) | digest[30], 3)


def _digits(number: int, count: int) -> str:
    return "".join(_DIGITS[(number >> (6 * place)) & 63] for place in range(count))
