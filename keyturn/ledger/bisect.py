"""Finds the first changed entry below a trusted root.

Tiles that hash to a signed root are true. From the root down, the search takes the left half where its entries differ
from the tiles, else the right half. At changed tiles it ends with the range so far.
"""

from keyturn.ledger.merkle import CompactRange, Nodes, left_size, node_hash, range_hash
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import LedgerReader
from keyturn.ledger.storage.tiles import nodes_of


def first_changed(source: LedgerSource, after: int, size: int, root: bytes) -> tuple[int, int]:
    """Return the range of numbers, first to last, of the first changed entry below ``root``.

    ``root`` covers the first ``size`` entries, of which the first ``after`` are unchanged.
    """
    nodes, first, last, true = nodes_of(source.tile), 0, size, root
    while last - first > 1:
        middle = first + left_size(last - first)
        halves = _halves(nodes, first, middle, last)
        if halves is None or node_hash(*halves) != true:
            break
        left_is_whole = middle <= after or _hash_of(source, first, middle) == halves[0]
        first, last, true = (middle, last, halves[1]) if left_is_whole else (first, middle, halves[0])
    return max(first, after) + 1, last


def _halves(nodes: Nodes, first: int, middle: int, last: int) -> tuple[bytes, bytes] | None:
    """The hashes of both halves; None where a tile is missing."""
    try:
        return range_hash(nodes, first, middle), range_hash(nodes, middle, last)
    except LookupError:
        return None


def _hash_of(source: LedgerSource, first: int, last: int) -> bytes:
    """The hash above leaves ``first`` to ``last - 1``, counted from 0; empty for misplaced ones."""
    reader, compact_range = LedgerReader(source, first + 1), CompactRange()
    for hashes in reader.hashes(last):
        compact_range.extend(hashes)
    return compact_range.root() if compact_range.size == last - first else b""
