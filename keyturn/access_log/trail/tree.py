"""The Merkle tree of a segment's events (RFC 6962), with roots of blocks."""

from collections.abc import Sequence
from typing import Final

from keyturn.ledger.merkle import CompactRange, hashes_above

LEVEL: Final = 6
BLOCK: Final = 1 << LEVEL
"""Leaves of a block, a complete subtree except for the last one."""


class EventTree:
    """A growing tree."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open: list[bytes] = []

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaves by their hashes."""
        self._open += hashes
        whole = len(self._open) // BLOCK * BLOCK
        roots, self._open = self._open[:whole], self._open[whole:]
        for _ in range(LEVEL):
            roots = hashes_above(roots)
        self._blocks += roots

    @property
    def blocks(self) -> list[bytes]:
        """The root of each block. The last may be smaller."""
        return [*self._blocks, *([root_above(self._open)] if self._open else [])]

    @property
    def root(self) -> bytes:
        """The root of all leaves, from the blocks, since a tree splits at a power of two."""
        return root_above(self.blocks)


def root_above(hashes: Sequence[bytes]) -> bytes:
    """The root of the tree above these hashes."""
    compact_range = CompactRange()
    compact_range.extend(hashes)
    return compact_range.root()
