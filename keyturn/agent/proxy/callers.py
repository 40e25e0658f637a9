"""Who calls a route: by the placeholder that it sends, or by its user on a Unix socket."""

import base64
import binascii
import hashlib
import pwd
import secrets
import socket
import struct
from asyncio import BaseTransport
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from keyturn.agent.http import HttpRequest
from keyturn.agent.proxy.routes import CREDENTIALS
from keyturn.core.sensitive import Sensitive

_UCRED: Final = struct.Struct("3i")


class Placeholders:
    """The callers by their placeholders, of which only keyed hashes are kept."""

    def __init__(self, callers: Mapping[str, Sensitive]) -> None:
        self._key = secrets.token_bytes(32)
        self._callers = {self._hash(token.reveal()): name for name, token in callers.items()}

    def caller(self, request: HttpRequest) -> str | None:
        """The caller whose placeholder a request has in any of its headers."""
        return next((name for text in placeholders_in(request) if (name := self._callers.get(self._hash(text)))), None)

    def _hash(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()


def placeholders_in(request: HttpRequest) -> Iterator[str]:
    """The texts in a request that may be a placeholder."""
    for name, text in request.headers:
        if name not in CREDENTIALS:
            continue
        yield text.strip()
        scheme, _, rest = text.strip().partition(" ")
        if scheme.lower() == "basic":
            with suppress(binascii.Error, ValueError):
                user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
                yield from (user, password)
        elif rest:
            yield rest.strip()


def user_of(transport: BaseTransport) -> str | None:
    """The user at the other end of a Unix socket, by the kernel's word; None elsewhere."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return None
