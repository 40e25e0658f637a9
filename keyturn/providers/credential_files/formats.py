"""The forms of lines with an account: which part is its value, how that is made of a password, and compared."""

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.settings.credential_files import FileFormat

CRYPT64: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LONGEST_BCRYPT: Final = 72
"""Bytes: bcrypt ignores what follows."""
PBKDF2_ROUNDS: Final = 101
"""As mosquitto_passwd 2.0 does it. Generated passwords are too long to be guessed."""
_ALONE: Final = threading.Lock()
"""crypt() has one buffer for all threads."""


@dataclass(frozen=True)
class LineFormat:
    """``line`` finds an account's line: what is before the value, the value, and what is after it."""

    line: str
    make: Callable[[str], str]
    matches: Callable[[str, str], bool]
    quoted: bool = False
    system_lock: str = ""
    """The file that other programs lock, next to it."""

    def parts(self, line: str, account: str) -> tuple[str, str, str] | None:
        """Return the line in three parts; None where it is not this account's."""
        match = re.fullmatch(self.line.replace("ACCOUNT", re.escape(account)), line, re.DOTALL)
        return (match[1], match[2], match[3]) if match else None

    def value(self, password: str) -> str:
        made = self.make(password)
        return f'"{made}"' if self.quoted else made

    def holds(self, value: str, password: str) -> bool:
        """Whether a value of a line is this password."""
        return self.matches(value.strip("\"'") if self.quoted else value, password)


def _mosquitto(password: str, salt: bytes = b"", rounds: int = PBKDF2_ROUNDS) -> str:
    salt = salt or secrets.token_bytes(12)
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def _is_mosquitto(value: str, password: str) -> bool:
    match = re.fullmatch(r"\$7\$([0-9]{1,7})\$([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+", value)
    try:
        made = _mosquitto(password, base64.b64decode(match[2]), int(match[1])) if match else ""
    except binascii.Error:
        return False
    return hmac.compare_digest(made, value)


def _bcrypt(kind: str) -> Callable[[str], str]:
    def make(password: str) -> str:
        if len(password.encode()) > LONGEST_BCRYPT:
            problem = f"the password is longer than {LONGEST_BCRYPT} bytes, and bcrypt ignores the rest"
            raise Invalid("hash", "a password", problem, "Shorten it by `password` in the catalogue")
        salt = "".join(secrets.choice(CRYPT64) for _ in range(21)) + secrets.choice(".Oeu")
        return _crypt(password, f"${kind}$10${salt}")

    return make


def _sha512_crypt(password: str) -> str:
    return _crypt(password, f"$6${''.join(secrets.choice(CRYPT64) for _ in range(16))}$")


def _is_crypted(value: str, password: str) -> bool:
    return value.startswith("$") and hmac.compare_digest(_crypt(password, value).encode(), value.encode())


def _crypt(password: str, setting: str) -> str:
    """Return what crypt(3) makes; empty for a setting that it does not know."""
    with _ALONE:
        made: bytes | None = _libcrypt().crypt(password.encode(), setting.encode())
    return "" if made is None or made.startswith(b"*") else made.decode()


@cache
def _libcrypt() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
        library.crypt.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        problem = "this system has no libcrypt"
        raise Invalid("hash", "a password", problem, "Install libxcrypt (Debian: libcrypt1)") from None
    return library


def _tsig(password: str) -> str:
    try:
        base64.b64decode(password, validate=True)
    except binascii.Error:
        hint = "Set `password: {length: 44}` in the catalogue: letters and digits only"
        raise Invalid("write", "a key", "its value is not Base64", hint) from None
    return password


def _is_same(value: str, password: str) -> bool:
    return hmac.compare_digest(value.encode(), password.encode())


def _is_nats(value: str, password: str) -> bool:
    return _is_crypted(value, password) if value.startswith("$2") else _is_same(value, password)


FORMATS: Final = {
    FileFormat.MOSQUITTO: LineFormat(r"(ACCOUNT:)([^:\s]*)(.*)", _mosquitto, _is_mosquitto),
    FileFormat.HTPASSWD: LineFormat(r"(ACCOUNT:)([^:\s]*)(.*)", _bcrypt("2y"), _is_crypted),
    FileFormat.NATS: LineFormat(
        r"(\s*\{?\s*user\s*[:=]\s*[\"']?ACCOUNT[\"']?\s*,\s*password\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,}]+)(.*)",
        _bcrypt("2a"),
        _is_nats,
        quoted=True,
    ),
    FileFormat.HAPROXY: LineFormat(r"(\s*user\s+ACCOUNT\s+password\s+)(\S+)(.*)", _sha512_crypt, _is_crypted),
    FileFormat.TSIG: LineFormat(
        r"(\s*key\s+\"?ACCOUNT\"?\s*\{\s*algorithm\s+[\w.\"-]+\s*;\s*secret\s+)(\"[^\"]*\"|[^\s;]+)(\s*;\s*\}\s*;.*)",
        _tsig,
        _is_same,
        quoted=True,
    ),
    FileFormat.SHADOW: LineFormat(r"(ACCOUNT:)([^:]*)(:.*)", _sha512_crypt, _is_crypted, system_lock=".pwd.lock"),
}
