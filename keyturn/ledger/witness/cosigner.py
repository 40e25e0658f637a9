"""A witness: it cosigns only checkpoints that continue the last one it cosigned.

So it exposes a signer with a second history. It stores a key, and a size and root per ledger. Source: C2SP's
tlog-witness.
"""

import base64
import binascii
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from keyturn.core.errors import Rewritten
from keyturn.core.ports.ledger import Signer
from keyturn.ledger.checkpoints import SIZE, Checkpoint, read_checkpoint
from keyturn.ledger.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from keyturn.ledger.signed_notes import NOTE_LIMIT, PublicKey, Verify, open_note
from keyturn.ledger.witness.cosignatures import WitnessKey, cosign

PROOF_LIMIT: Final = 63
"""The protocol's maximum hashes of a proof."""
REQUEST_LIMIT: Final = NOTE_LIMIT + 4096
"""Maximum bytes of a request: a proof and a note."""
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Seen:
    """The last cosigned checkpoint of a ledger; the empty tree before the first."""

    size: int = 0
    root: bytes = EMPTY_ROOT


class WitnessState(Protocol):
    """The durable state of a witness."""

    def changing(self) -> AbstractContextManager[None]:
        """Exclusive access for reads and writes."""

    def read(self, origin: str) -> Seen:
        """The last cosigned checkpoint of that ledger."""

    def write(self, origin: str, state: Seen) -> None:
        """Store it durably. Raises OSError."""


@dataclass(frozen=True)
class WitnessAnswer:
    """The response to a request."""

    status: int
    body: str = ""
    content_type: str = TEXT_TYPE


@dataclass(frozen=True)
class Witness:
    """One witness: its name and key, the known ledgers' keys, and its state.

    ``ledgers`` raises OSError where they are unknown.
    """

    key: WitnessKey
    signer: Signer
    ledgers: Callable[[], Collection[PublicKey]]
    state: WitnessState
    verify: Verify
    clock: Callable[[], datetime]

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Store and cosign a request's checkpoint, or return the reason.

        Raises OSError, without cosigning, where it can't be stored.
        """
        try:
            old, proof, note = parse_request(body)
            checkpoint = read_checkpoint(note)
        except (ValueError, Rewritten):
            return WitnessAnswer(400, "the request can't be read\n")
        keys = [key for key in self.ledgers() if key.name == checkpoint.origin]
        if not keys:
            return WitnessAnswer(404, "this witness does not know the ledger\n")
        try:
            open_note(note, keys, self.verify)
        except Rewritten:
            return WitnessAnswer(403, "no key of the ledger has signed it\n")
        if old > checkpoint.size:
            return WitnessAnswer(400, "the old size is larger than the checkpoint's\n")
        with self.state.changing():
            return self._cosigned(old, proof, checkpoint)

    def _cosigned(self, old: int, proof: list[bytes], checkpoint: Checkpoint) -> WitnessAnswer:
        last = self.state.read(checkpoint.origin)
        if old != last.size or (old == checkpoint.size and last.root != checkpoint.root):
            return WitnessAnswer(409, f"{last.size}\n", SIZE_TYPE)
        if not verify_consistency(last.size, checkpoint.size, last.root, checkpoint.root, proof):
            return WitnessAnswer(422, "it does not continue the last checkpoint that was cosigned\n")
        self.state.write(checkpoint.origin, Seen(checkpoint.size, checkpoint.root))
        return WitnessAnswer(200, cosign(checkpoint.note, self.key, self.signer, self.clock()))


def build_request(old: int, proof: Collection[bytes], note: str) -> bytes:
    """The request body to a witness that has seen ``old`` entries."""
    lines = [f"old {old}", *(base64.b64encode(value).decode() for value in proof), "", note]
    return "\n".join(lines).encode()


def parse_request(body: bytes) -> tuple[int, list[bytes], str]:
    """Old size, proof and note of a request. Raises ValueError where it is malformed."""
    head, blank, note = body.decode().partition("\n\n")
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(lines) > PROOF_LIMIT or len(body) > REQUEST_LIMIT:
        raise ValueError("it is no request")
    return int(old[1]), [_hash(line) for line in lines], note


def parse_size(body: str) -> int:
    """The size that a witness reports. Raises ValueError."""
    if not body.endswith("\n") or not SIZE.fullmatch(body[:-1]):
        raise ValueError("it is no size")
    return int(body)


def _hash(line: str) -> bytes:
    try:
        value = base64.b64decode(line, validate=True)
    except binascii.Error:
        raise ValueError("it is no hash") from None
    if len(value) != HASH_SIZE:
        raise ValueError("it is no hash")
    return value
