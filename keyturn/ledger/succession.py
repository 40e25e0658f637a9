"""When the key that signs a ledger is followed by another, the old one signs for the new one, in an entry.

What is signed is a note of its own, which no checkpoint can be taken for. The entry is only how it travels: whoever may
write entries can't make one, and a verifier that was given the old key alone believes the new one from there on. It
proves as much as the old key does: whoever has that signs for a key of theirs, so the new one is told out of band too.
"""

import base64
import binascii
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.core.errors import Invalid, Rewritten
from keyturn.core.ports.ledger import Entry, Outcome, Signer
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.scan import ACTION
from keyturn.ledger.signed_notes import PublicKey, Verify, open_note, sign_note, signed_by

TITLE: Final = "keyturn ledger key succession"
"""The first line of the note; that of a checkpoint is the ledger's name, in one word."""


@dataclass(frozen=True)
class Succession:
    """The entry from which on ``successor`` signs in the place of ``key``."""

    sequence: int
    key: PublicKey
    successor: PublicKey


@dataclass(frozen=True)
class KeyTerm:
    """A key, and which checkpoints it may have signed: over ``first`` entries or more, and fewer than ``before``."""

    key: PublicKey
    first: int = 0
    before: int | None = None

    def covers(self, size: int) -> bool:
        """Whether it may have signed a checkpoint over so many entries."""
        return self.first <= size and (self.before is None or size < self.before)


def succession_entry(signer: Signer, successor: PublicKey, at: datetime, actor: str) -> Entry:
    """The entry by which the key of ``signer``, the old one, hands over. Raises what the signer raises."""
    text = f"{TITLE}\n{successor.name}\n{successor}\n"
    note = base64.b64encode(sign_note(text, successor.name, signer).encode()).decode()
    return Entry(at, actor, ACTION, Outcome.DONE, place=str(successor), note=note, host=socket.gethostname())


Marked = Iterable[tuple[int, bytes]]
"""Entries with their numbers, in order; all that tell of keys are among them."""


def key_terms(marked: Marked, keys: Collection[PublicKey], verify: Verify) -> tuple[list[KeyTerm], list[Succession]]:
    """Which keys may have signed what, for whoever believes ``keys``, and what successors they are not told of yet.

    All entries count: a key that has handed over vouches for nothing later, whoever has it by then.
    """
    successions = list(_successions(marked, keys, verify))
    strangers = [succession for succession in successions if succession.successor not in keys]
    ends = {succession.key: succession.sequence for succession in successions}
    begins = {succession.successor: succession.sequence for succession in strangers}
    return [KeyTerm(key, begins.get(key, 0), ends.get(key)) for key in (*keys, *begins)], strangers


def _successions(marked: Marked, keys: Collection[PublicKey], verify: Verify) -> Iterator[Succession]:
    """Those that a key has signed which is believed by then, in their order; each key hands over once."""
    believed, ended = list(keys), set[PublicKey]()
    for sequence, leaf in marked:
        succession = _signed_for(sequence, leaf, believed, verify)
        if succession and succession.successor not in {succession.key, *ended}:
            believed.remove(succession.key)
            ended.add(succession.key)
            believed += [succession.successor] if succession.successor not in believed else []
            yield succession


def _signed_for(sequence: int, leaf: bytes, believed: Collection[PublicKey], verify: Verify) -> Succession | None:
    """What an entry says, where it says it by a key that is believed; None for anything else that calls itself so."""
    try:
        note = base64.b64decode(parse_leaf(leaf).entry.note, validate=True).decode()
        key = next((key for key in believed if signed_by(note, key)), None)
        if key is None:
            return None
        title, origin, text = open_note(note, [key], verify).split("\n")[:3]
        successor = PublicKey.parse(text)
    except (Invalid, Rewritten, ValueError, binascii.Error):
        return None
    if (title, origin, successor.name) != (TITLE, key.name, key.name):
        return None
    return Succession(sequence, key, successor)
