"""Reading a ledger from some entry on: what stands there is hashed, and where it is out of order is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from keyturn.ledger.entries import BEGINNING
from keyturn.ledger.merkle import leaf_hashes
from keyturn.ledger.ports import LedgerSource

LOWEST: Final = -(1 << 63)
"""The smallest number that a row can have: what was put before the first entry is found, too."""

AT_ONCE: Final = 512
"""Leaves that are held at once: they stay in a core's cache until they are hashed, which saves a twentieth."""

LEAF: Final = BEGINNING + b"%b"
"""The canonical bytes by number and tail."""

StoredRow = tuple[int, bytes]
"""The number that an entry is stored under, and its tail."""


@dataclass(frozen=True)
class Misplaced:
    """The first place where an entry should stand and does not, and what is wrong there."""

    sequence: int
    problem: str


class LedgerReader:
    """One pass over the leaves from the number ``first`` on.

    ``read`` is the last one that was in order. ``misplaced`` says why it ended before the ledger; None when it did not.
    """

    def __init__(self, source: LedgerSource, first: int = 1) -> None:
        self.read = first - 1
        self.misplaced: Misplaced | None = None
        self._rows = iter(source.tails(first if first > 1 else LOWEST))

    def hashes(self, until: int | None = None) -> Iterator[list[bytes]]:
        """Hashes of the leaves that follow, in batches, up to and with ``until``, or as far as they are in order."""
        while leaves := self.leaves(AT_ONCE, until):
            yield leaf_hashes(leaves)

    def leaves(self, most: int, until: int | None = None) -> list[bytes]:
        """As many of the next leaves, to ``until`` at most, as are in order; none at the end, or where one is not."""
        wanted = most if until is None else min(most, until - self.read)
        rows = [] if self.misplaced else list(islice(self._rows, wanted))
        try:
            leaves = _in_order(rows, self.read + 1)
        except _OutOfOrder:
            leaves = _in_order(rows[: self._find_misplaced(rows)], self.read + 1)
        self.read += len(leaves)
        return leaves

    def _find_misplaced(self, rows: Sequence[StoredRow]) -> int:
        """How many of the rows are in order; what is wrong with the next one is told in ``misplaced``."""
        place = next(at for at, row in enumerate(rows) if _problem(self.read + 1 + at, *row))
        sequence = self.read + 1 + place
        self.misplaced = Misplaced(sequence, _problem(sequence, *rows[place]))
        return place


class _OutOfOrder(Exception):
    """Some row is not where it should be."""


def _in_order(rows: Sequence[StoredRow], first: int) -> list[bytes]:
    """The leaves of all rows. Raises _OutOfOrder."""
    if [number for number, _ in rows] != list(range(first, first + len(rows))):
        raise _OutOfOrder
    try:
        return [LEAF % row for row in rows]
    except TypeError:
        raise _OutOfOrder from None


def _problem(sequence: int, stored: int, tail: bytes) -> str:
    """What is wrong with the row where this number's should stand; empty where nothing is."""
    if stored > sequence:
        return f"entry {sequence} is missing: after {sequence - 1} comes {stored}"
    if stored < sequence:
        return f"where entry {sequence} should stand is one of the number {stored}"
    return "" if isinstance(tail, bytes) else f"where entry {sequence} should stand is no text"
