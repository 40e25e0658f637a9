"""Keys that sign in the process, and copies of the newest checkpoint that are kept in memory."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.core.errors import Conflict
from keyturn.ledger.checkpointer import CheckpointCopy
from keyturn.ledger.signed_notes import PublicKey

ORIGIN = "keyturn/tests"


class Key:
    """A :class:`keyturn.core.ledger.Signer` that holds its key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def public_keys(self) -> list[bytes]:
        return [self.public_key()]

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def public(self, name: str = ORIGIN) -> PublicKey:
        return PublicKey(name, self.public_key())


class Memory(CheckpointCopy):
    """The place beside the ledger."""

    def __init__(self) -> None:
        self.note = ""
        self.version = 0

    def read(self) -> tuple[str, int]:
        return self.note, self.version

    def write(self, note: str, *, cas: int) -> None:
        if cas != self.version:
            raise Conflict("write", "the copy", "somebody was quicker", "Read it again")
        self.note, self.version = note, cas + 1
