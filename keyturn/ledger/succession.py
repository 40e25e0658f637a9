"""Succession of signing keys: the old key signs for the new one, in an entry.

A mere writer of entries can't forge it. A verifier with the old key trusts the new one from there on. A thief of the
old key can forge it, so publish the new key out of band too.
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
"""The note's first line. A checkpoint starts with the ledger's name, one word."""


@dataclass(frozen=True)
class Succession:
    """The entry from which ``successor`` replaces ``key``."""

    sequence: int
    key: PublicKey
    successor: PublicKey


@dataclass(frozen=True)
class KeyTerm:
    """A key and the sizes it may sign: at least ``first``, and less than ``before``."""

    key: PublicKey
    first: int = 0
    before: int | None = None

    def covers(self, size: int) -> bool:
        """Whether it may have signed a checkpoint of this size."""
        return self.first <= size and (self.before is None or size < self.before)


def succession_entry(signer: Signer, successor: PublicKey, at: datetime, actor: str) -> Entry:
    """The entry in which the old key, of ``signer``, hands over."""
    text = f"{TITLE}\n{successor.name}\n{successor}\n"
    note = base64.b64encode(sign_note(text, successor.name, signer).encode()).decode()
    return Entry(at, actor, ACTION, Outcome.DONE, place=str(successor), note=note, host=socket.gethostname())


Marked = Iterable[tuple[int, bytes]]
"""Numbered entries in order, including all about keys."""


def key_terms(marked: Marked, keys: Collection[PublicKey], verify: Verify) -> tuple[list[KeyTerm], list[Succession]]:
    """The terms of ``keys`` and their successors, and the successions to unknown keys.

    A key that handed over signs nothing later.
    """
    successions = list(_successions(marked, keys, verify))
    strangers = [succession for succession in successions if succession.successor not in keys]
    ends = {succession.key: succession.sequence for succession in successions}
    begins = {succession.successor: succession.sequence for succession in strangers}
    return [KeyTerm(key, begins.get(key, 0), ends.get(key)) for key in (*keys, *begins)], strangers


def _successions(marked: Marked, keys: Collection[PublicKey], verify: Verify) -> Iterator[Succession]:
    """The handovers by keys trusted at that point, in order. Each key hands over once."""
    believed, ended = list(keys), set[PublicKey]()
    for sequence, leaf in marked:
        succession = _signed_for(sequence, leaf, believed, verify)
        if succession and succession.successor not in {succession.key, *ended}:
            believed.remove(succession.key)
            ended.add(succession.key)
            believed += [succession.successor] if succession.successor not in believed else []
            yield succession


def _signed_for(sequence: int, leaf: bytes, believed: Collection[PublicKey], verify: Verify) -> Succession | None:
    """The succession in an entry, signed by a trusted key; None for any other entry."""
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
