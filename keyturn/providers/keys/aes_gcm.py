"""AES-256-GCM with the package cryptography: sealing with data keys, and wrapping with a local key.

Nonces are 12 random bytes; no data key seals more often than NIST SP 800-38D allows for those.
"""

import base64
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid, TransientError
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, DataKeys, Refusal, SealHeader, SealRefused, parse_sealed
from keyturn.core.sensitive import Sensitive

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ModuleNotFoundError:
    raise Invalid(
        "open", "AES-256-GCM", "the package cryptography is missing", "Install keyturn[certificates]"
    ) from None

NONCE_BYTES: Final = 12
KEY_LIFETIME: Final = 3600.0
"""Seconds until a new data key is made, and so a new generation of the wrapping key used."""
MOST_SEALS: Final = 2**20
"""With one key; NIST SP 800-38D, 8.3, allows 2**32."""
REMEMBERED: Final = 4
SEALED: Final = "what is sealed"


@dataclass
class Used:
    key: DataKey
    context: Mapping[str, str]
    made_at: float
    seals: int = 0

    def fits(self, context: Mapping[str, str], now: float) -> bool:
        return self.serves(context) and now - self.made_at < KEY_LIFETIME

    def serves(self, context: Mapping[str, str]) -> bool:
        return self.context == context and self.seals < MOST_SEALS


class AesEnvelope:
    """An :class:`keyturn.core.ports.envelope.Envelope` over any :class:`~keyturn.core.ports.envelope.DataKeys`.

    A data key is used for an hour, or longer while no new one can be made. ``clock`` is monotonic, in seconds.
    """

    def __init__(self, keys: DataKeys, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._used: Used | None = None
        self._unwrapped: OrderedDict[tuple[str, str], Sensitive] = OrderedDict()

    def seal(self, text: Sensitive, context: Mapping[str, str]) -> bytes:
        with self._lock:
            key = self._data_key(context)
        header = SealHeader(self._keys.kind, key.wrapped, context).encode()
        return header + encrypt(key.key, text.reveal().encode(), header)

    def open(self, sealed: bytes, context: Mapping[str, str]) -> Sensitive:
        """The text that was sealed with this context. Raises SealRefused, and what unwrapping raises."""
        header, line, rest = parse_sealed(sealed)
        if header.context != context:
            raise SealRefused(Refusal.FOREIGN, SEALED, "it belongs to another host, place or purpose")
        if header.kind != self._keys.kind:
            problem = f"its key is wrapped by {header.kind!r}, and {self._keys.kind!r} is at hand"
            raise SealRefused(Refusal.KEYLESS, SEALED, problem)
        with self._lock:
            key = self._unwrap(header)
        return Sensitive(decrypt(key, rest, line).decode())

    def _data_key(self, context: Mapping[str, str]) -> DataKey:
        if self._used is None or not self._used.fits(context, self._clock()):
            try:
                self._used = Used(self._keys.make(context), dict(context), self._clock())
            except TransientError:
                if self._used is None or not self._used.serves(context):
                    raise
        self._used.seals += 1
        return self._used.key

    def _unwrap(self, header: SealHeader) -> Sensitive:
        name = (header.wrapped, repr(sorted(header.context.items())))
        if name not in self._unwrapped:
            self._unwrapped[name] = self._keys.unwrap(header.wrapped, header.context)
        self._unwrapped.move_to_end(name)
        while len(self._unwrapped) > REMEMBERED:
            self._unwrapped.popitem(last=False)
        return self._unwrapped[name]


def fresh_key() -> Sensitive:
    return Sensitive(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())


def encrypt(key: Sensitive, content: bytes, associated: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(base64.b64decode(key.reveal())).encrypt(nonce, content, associated)


def decrypt(key: Sensitive, content: bytes, associated: bytes) -> bytes:
    try:
        cipher = AESGCM(base64.b64decode(key.reveal()))
        return cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError):
        problem = "it was changed or cut short since it was sealed, or its key is another"
        raise SealRefused(Refusal.TAMPERED, SEALED, problem) from None
