"""Reads and hashes a ledger from some entry on, up to the first misplaced one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from keyturn.ledger.entries import BEGINNING
from keyturn.ledger.merkle import leaf_hashes
from keyturn.ledger.ports import LedgerSource

LOWEST: Final = -(1 << 63)
"""The smallest row number, to find rows before the first entry."""

AT_ONCE: Final = 512
"""Leaves in memory at once. They fit a core's cache, which saves 5 %."""

LEAF: Final = BEGINNING + b"%b"
"""The canonical bytes by number and tail."""

StoredRow = tuple[int, bytes]
"""The number under which an entry is stored, and its tail."""


@dataclass(frozen=True)
class Misplaced:
    """The first missing or misplaced entry, and the problem."""

    sequence: int
    problem: str


class LedgerReader:
    """One pass over the leaves from ``first`` on.

    ``read`` is the last one in order, ``misplaced`` why the pass ended early.
    """

    def __init__(self, source: LedgerSource, first: int = 1) -> None:
        self.read = first - 1
        self.misplaced: Misplaced | None = None
        self._rows = iter(source.tails(first if first > 1 else LOWEST))

    def hashes(self, until: int | None = None) -> Iterator[list[bytes]]:
        """Hashes of the next leaves in order, in batches, through ``until``."""
        while leaves := self.leaves(AT_ONCE, until):
            yield leaf_hashes(leaves)

    def leaves(self, most: int, until: int | None = None) -> list[bytes]:
        """At most ``most`` next leaves in order, through ``until``; empty at the end or a misplaced one."""
        wanted = most if until is None else min(most, until - self.read)
        rows = [] if self.misplaced else list(islice(self._rows, wanted))
        try:
            leaves = _in_order(rows, self.read + 1)
        except _OutOfOrder:
            leaves = _in_order(rows[: self._find_misplaced(rows)], self.read + 1)
        self.read += len(leaves)
        return leaves

    def _find_misplaced(self, rows: Sequence[StoredRow]) -> int:
        """The number of rows in order. Sets ``misplaced`` for the next one."""
        place = next(at for at, row in enumerate(rows) if _problem(self.read + 1 + at, *row))
        sequence = self.read + 1 + place
        self.misplaced = Misplaced(sequence, _problem(sequence, *rows[place]))
        return place


class _OutOfOrder(Exception):
    """A row is out of order."""


def _in_order(rows: Sequence[StoredRow], first: int) -> list[bytes]:
    """The leaves of all rows. Raises _OutOfOrder."""
    if [number for number, _ in rows] != list(range(first, first + len(rows))):
        raise _OutOfOrder
    try:
        return [LEAF % row for row in rows]
    except TypeError:
        raise _OutOfOrder from None


def _problem(sequence: int, stored: int, tail: bytes) -> str:
    """The problem with the row at this number; empty for none."""
    if stored > sequence:
        return f"entry {sequence} is missing: after {sequence - 1} comes {stored}"
    if stored < sequence:
        return f"where entry {sequence} should be is one with the number {stored}"
    return "" if isinstance(tail, bytes) else f"where entry {sequence} should be is not text"
