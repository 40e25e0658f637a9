"""One pass over a ledger's entries: whether they are in order, what they hash to, and which of them tell of keys.

A part of the entries can be scanned by itself, and parts that follow each other are put together: so several processes
may share the work. Nothing is compared with a signature here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Rewritten
from keyturn.ledger.merkle import Subtree, leaf_hashes, subtrees_of
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import AT_ONCE, LedgerReader, Misplaced

ACTION: Final = "ledger key"
"""The action of the entry by which a key hands over to another."""
MARK: Final = f'"action":"{ACTION}"'.encode()


@dataclass
class Scan:
    """What was found: ``read`` is the last entry that was in order, ``misplaced`` why it is not the ledger's last.

    ``subtrees`` are the complete subtrees of the entries, in order, up to each of the numbers that were asked for, and
    from the one before. ``marked`` are entries with their numbers, among them all that tell of keys. ``broken`` is what
    the ledger raised where it can't be read any further.
    """

    read: int = 0
    misplaced: Misplaced | None = None
    subtrees: dict[int, list[Subtree]] = field(default_factory=dict)
    marked: list[tuple[int, bytes]] = field(default_factory=list)
    broken: Rewritten | None = None

    @property
    def whole(self) -> bool:
        """Whether every entry was where it should be."""
        return self.misplaced is None and self.broken is None

    def followed_by(self, rest: "Scan") -> "Scan":
        """This scan, which has to be whole, and that of the entries that follow."""
        marked = [*self.marked, *rest.marked]
        return Scan(rest.read, rest.misplaced, self.subtrees | rest.subtrees, marked, rest.broken)


Scanner = Callable[[LedgerSource, Sequence[int]], Scan]
"""Scans all of a ledger's entries, and tells subtrees up to these numbers, which are in ascending order."""


def scan_entries(source: LedgerSource, ends: Sequence[int], *, first: int = 1, last: int | None = None) -> Scan:
    """Scan the entries from ``first`` to ``last``, or to the end, in this process; ``ends`` are among these numbers.

    What follows the last of ``ends`` is looked at and not hashed. Raises Unavailable where nothing can be read.
    """
    scan, reader = Scan(first - 1), LedgerReader(source, first)
    try:
        for end in ends:
            scan.subtrees[end] = [
                subtree for begun, leaves in _read(scan, reader, end) for subtree in _hashed(begun, leaves)
            ]
        for _ in _read(scan, reader, last):
            pass
        if reader.misplaced:
            scan.marked += [(number, leaf) for number, leaf in source.leaves(reader.read + 1, last) if MARK in leaf]
    except Rewritten as error:
        scan.broken = error
    scan.read, scan.misplaced = reader.read, reader.misplaced
    return scan


def _read(scan: Scan, reader: LedgerReader, end: int | None) -> Iterator[tuple[int, list[bytes]]]:
    """The leaves up to ``end``, in batches that begin where a subtree of a whole batch may, counted from 0."""
    while leaves := reader.leaves(AT_ONCE - reader.read % AT_ONCE, end):
        begun = reader.read - len(leaves)
        # One search through all of them together takes half the time of a search in each.
        if MARK in b"".join(leaves):
            scan.marked += [(begun + place, leaf) for place, leaf in enumerate(leaves, 1) if MARK in leaf]
        yield begun, leaves


def _hashed(begun: int, leaves: Sequence[bytes]) -> list[Subtree]:
    return subtrees_of(begun, leaf_hashes(leaves))
