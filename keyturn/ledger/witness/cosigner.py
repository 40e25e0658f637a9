"""A witness: it cosigns a ledger's checkpoint where that continues the last one that it has cosigned, and no other.

Whoever signs for the ledger may sign a second history; a witness that has seen the first one does not. It holds a key
and, of each ledger, a size and a root. Source: C2SP's tlog-witness.
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
"""Hashes of a proof, as the protocol has it."""
REQUEST_LIMIT: Final = NOTE_LIMIT + 4096
"""Bytes of a request: a note, and a proof before it."""
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Seen:
    """The last checkpoint of a ledger that was cosigned; of one that never was, the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT


class WitnessState(Protocol):
    """What a witness has seen, kept so that it is there after any crash."""

    def changing(self) -> AbstractContextManager[None]:
        """Whoever is inside is the only one who reads and writes."""

    def read(self, origin: str) -> Seen:
        """The last checkpoint of that ledger that was cosigned."""

    def write(self, origin: str, state: Seen) -> None:
        """Keep it, and return once it is durable. Raises OSError."""


@dataclass(frozen=True)
class WitnessAnswer:
    """What a request is answered with."""

    status: int
    body: str = ""
    content_type: str = TEXT_TYPE


@dataclass(frozen=True)
class Witness:
    """One witness: its name and key, the keys of the ledgers that it knows now, and what it has seen of them.

    ``ledgers`` raises OSError where that can't be told.
    """

    key: WitnessKey
    signer: Signer
    ledgers: Callable[[], Collection[PublicKey]]
    state: WitnessState
    verify: Verify
    clock: Callable[[], datetime]

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Cosign the checkpoint of a request, once what was seen is kept; or the status that says why not.

        Raises OSError where what was seen can't be kept: then nothing was cosigned.
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
    """The body that asks a witness, which has seen ``old`` entries, for its cosignature."""
    lines = [f"old {old}", *(base64.b64encode(value).decode() for value in proof), "", note]
    return "\n".join(lines).encode()


def parse_request(body: bytes) -> tuple[int, list[bytes], str]:
    """Old size, proof and note of a request. Raises ValueError for what is none."""
    head, blank, note = body.decode().partition("\n\n")
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(lines) > PROOF_LIMIT or len(body) > REQUEST_LIMIT:
        raise ValueError("it is no request")
    return int(old[1]), [_hash(line) for line in lines], note


def parse_size(body: str) -> int:
    """The size that a witness tells. Raises ValueError."""
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
