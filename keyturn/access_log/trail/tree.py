"""The Merkle tree over a segment's events (RFC 6962), with the roots of its blocks, so that what differs is found."""

from collections.abc import Sequence
from typing import Final

from keyturn.ledger.merkle import CompactRange, hashes_above

LEVEL: Final = 6
BLOCK: Final = 1 << LEVEL
"""Leaves of a block: a complete subtree, but for the last one."""


class EventTree:
    """A tree that grows."""

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
        """The root of each block, that of the last one too, which may be smaller."""
        return [*self._blocks, *([root_above(self._open)] if self._open else [])]

    @property
    def root(self) -> bytes:
        """The root of all leaves: that above the blocks, since a tree splits at a power of two."""
        return root_above(self.blocks)


def root_above(hashes: Sequence[bytes]) -> bytes:
    """The root of the tree whose lowest hashes these are."""
    compact_range = CompactRange()
    compact_range.extend(hashes)
    return compact_range.root()
