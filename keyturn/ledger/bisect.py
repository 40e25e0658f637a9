"""Finding the first entry that was changed, below a root that is known to be true.

Tiles are stored unsigned. But where they hash to a root that was signed they are as true as it is, and so is every hash
in them: from the root down, one goes to the left half if its entries give another hash than the tiles do, else to the
right one. Where the tiles were changed to fit there is nothing more to know, and the range so far is the answer.
"""

from keyturn.ledger.merkle import CompactRange, Nodes, left_size, node_hash, range_hash
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import LedgerReader
from keyturn.ledger.storage.tiles import nodes_of


def first_changed(source: LedgerSource, after: int, size: int, root: bytes) -> tuple[int, int]:
    """Where the first entry is that is not what it was when ``root`` was signed over the first ``size`` entries.

    The first ``after`` entries are known to be as they were. It gives the first and the last number that it may have.
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
    """What the tiles hold for both halves, None where they hold nothing."""
    try:
        return range_hash(nodes, first, middle), range_hash(nodes, middle, last)
    except LookupError:
        return None


def _hash_of(source: LedgerSource, first: int, last: int) -> bytes:
    """The hash above the leaves ``first`` to ``last - 1``, counted from 0; empty where they are not all in order."""
    reader, compact_range = LedgerReader(source, first + 1), CompactRange()
    for hashes in reader.hashes(last):
        compact_range.extend(hashes)
    return compact_range.root() if compact_range.size == last - first else b""
