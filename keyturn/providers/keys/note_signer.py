"""An Ed25519 key in a file, which signs notes (RFC 8032, RFC 5958)."""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keyturn.core.errors import Invalid, NotFound

MAKE = "Make one: openssl genpkey -algorithm ed25519 -out FILE"


class KeySigner:
    """A :class:`keyturn.core.ports.ledger.Signer` that holds its only key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def public_key(self) -> bytes:
        """32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def public_keys(self) -> list[bytes]:
        return [self.public_key()]

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)

    def earlier(self, public_key: bytes) -> "KeySigner":
        """Itself. Raises NotFound for any other key."""
        if public_key != self.public_key():
            raise NotFound("sign with", "an earlier key", "a file holds one key alone", "Name the file of that one")
        return self


class FileSigner(KeySigner):
    """Its key is a PEM file that only its owner may read. Raises Invalid."""

    def __init__(self, file: Path) -> None:
        super().__init__(_read_key(file))


def _read_key(file: Path) -> Ed25519PrivateKey:
    try:
        with open(file, "rb") as opened:
            status = os.fstat(opened.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise Invalid("sign with", str(file), "others may read or write this key", f"chmod 0600 {file}")
            key = load_pem_private_key(opened.read(65_536), password=None)
    except OSError as error:
        raise Invalid("sign with", str(file), f"it can't be read ({error.strerror})", MAKE) from None
    except (ValueError, TypeError):
        raise Invalid("sign with", str(file), "it is no private key in PEM without a passphrase", MAKE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Invalid("sign with", str(file), "it is no key of Ed25519", MAKE)
    return key
