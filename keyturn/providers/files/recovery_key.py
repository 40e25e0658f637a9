"""Data keys wrapped for a public key, whose private half stays offline until a hub is lost.

    openssl genpkey -algorithm x25519 -out recovery.pem          # kept offline
    openssl pkey -in recovery.pem -pubout -out recovery.pub      # on the machine that makes backups

A fresh key pair agrees with the public key (X25519, RFC 7748). HKDF-SHA256 of that secret wraps the data key by
AES-256-GCM.
"""

import base64
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from keyturn.core.errors import Invalid
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, SealRefused, encode_context, refuse_key
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.aes_gcm import decrypt, encrypt, fresh_key

MAKE: Final = (
    "Make one: openssl genpkey -algorithm x25519 -out recovery.pem; openssl pkey -in recovery.pem -pubout -out"
    " recovery.pub"
)
LARGEST_PEM: Final = 16_384  # bytes
INFO: Final = b"keyturn-recovery-1\0"


class RecoveryDataKeys:
    """:class:`keyturn.core.ports.envelope.DataKeys` from a PEM file with the public or the private key.

    Raises Invalid for a file with neither, or a private key that others may read.
    """

    kind = "x25519"

    def __init__(self, file: Path | str) -> None:
        self._file = Path(file)
        self._private, self._public = _read_pair(self._file)

    def make(self, context: Mapping[str, str]) -> DataKey:
        key, once = fresh_key(), X25519PrivateKey.generate()
        public = once.public_key().public_bytes_raw()
        wrapping = _agreed(once.exchange(self._public), public, self._public)
        wrapped = encrypt(wrapping, key.reveal().encode(), encode_context(context))
        return DataKey(key, base64.b64encode(public + wrapped).decode())

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        """The data key. Raises SealRefused with another private key, or without one."""
        if self._private is None:
            hint = "Give the private one, which is kept offline: --key x25519:FILE"
            raise refuse_key(str(self._file), "it holds the public key, and the private one opens backups", hint)
        try:
            raw = base64.b64decode(wrapped, validate=True)
            public = raw[:KEY_BYTES]
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
            wrapping = _agreed(shared, public, self._public)
            return Sensitive(decrypt(wrapping, raw[KEY_BYTES:], encode_context(context)).decode())
        except (ValueError, SealRefused):
            raise refuse_key(str(self._file), "the backup was sealed for another recovery key") from None


def _agreed(shared: bytes, once: bytes, public: X25519PublicKey) -> Sensitive:
    info = INFO + once + public.public_bytes_raw()
    return Sensitive(base64.b64encode(HKDF(SHA256(), KEY_BYTES, None, info).derive(shared)).decode())


def _read_pair(file: Path) -> tuple[X25519PrivateKey | None, X25519PublicKey]:
    try:
        with open(file, "rb") as opened:
            status, text = os.fstat(opened.fileno()), opened.read(LARGEST_PEM)
    except OSError as error:
        raise Invalid("use", str(file), f"it can't be read ({error.strerror})", MAKE) from None
    private = b"PRIVATE KEY" in text
    if private and stat.S_IMODE(status.st_mode) & 0o077:
        raise Invalid("use", str(file), "others may read or write this key", f"chmod 0600 {file}")
    try:
        key: object = load_pem_private_key(text, password=None) if private else load_pem_public_key(text)
    except (ValueError, TypeError):
        key = None
    if isinstance(key, X25519PrivateKey):
        return key, key.public_key()
    if isinstance(key, X25519PublicKey):
        return None, key
    raise Invalid("use", str(file), "it is no X25519 key in PEM without a passphrase", MAKE)
