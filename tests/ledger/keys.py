"""Keys that sign in the process, and copies of the newest checkpoint that are kept in memory."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.core.errors import Conflict
from keyturn.ledger.checkpointer import CheckpointCopy
from keyturn.ledger.signed_notes import PublicKey
from keyturn.providers.keys.note_signer import KeySigner

ORIGIN = "keyturn/tests"


class Key(KeySigner):
    """One that was made just now."""

    def __init__(self) -> None:
        super().__init__(Ed25519PrivateKey.generate())

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
