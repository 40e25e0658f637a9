"""One pass over a ledger's entries: order, hashes and entries about keys. Signatures are not checked.

Consecutive parts can be scanned by several processes and joined.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Rewritten
from keyturn.ledger.merkle import Subtree, leaf_hashes, subtrees_of
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.reader import AT_ONCE, LedgerReader, Misplaced

ACTION: Final = "ledger key"
"""The action of an entry about key succession."""
MARK: Final = f'"action":"{ACTION}"'.encode()


@dataclass
class Scan:
    """The result. ``read`` is the last entry in order, ``misplaced`` why the scan ended early.

    ``subtrees`` are the complete subtrees up to each requested number, ``marked`` the entries about keys, ``broken``
    what the ledger raised.
    """

    read: int = 0
    misplaced: Misplaced | None = None
    subtrees: dict[int, list[Subtree]] = field(default_factory=dict)
    marked: list[tuple[int, bytes]] = field(default_factory=list)
    broken: Rewritten | None = None

    @property
    def whole(self) -> bool:
        """Whether every entry was in order."""
        return self.misplaced is None and self.broken is None

    def followed_by(self, rest: "Scan") -> "Scan":
        """This scan, which must be whole, joined with the following one."""
        marked = [*self.marked, *rest.marked]
        return Scan(rest.read, rest.misplaced, self.subtrees | rest.subtrees, marked, rest.broken)


Scanner = Callable[[LedgerSource, Sequence[int]], Scan]
"""Scans a ledger, with subtrees up to these ascending numbers."""


def scan_entries(source: LedgerSource, ends: Sequence[int], *, first: int = 1, last: int | None = None) -> Scan:
    """Scan entries ``first`` to ``last`` or the end. ``ends`` are among them.

    Entries after the last of ``ends`` are not hashed. Raises Unavailable where nothing can be read.
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
    """The leaves up to ``end``, in batches aligned to whole subtrees."""
    while leaves := reader.leaves(AT_ONCE - reader.read % AT_ONCE, end):
        begun = reader.read - len(leaves)
        # One search through the joined leaves takes half the time of a search in each.
        if MARK in b"".join(leaves):
            scan.marked += [(begun + place, leaf) for place, leaf in enumerate(leaves, 1) if MARK in leaf]
        yield begun, leaves


def _hashed(begun: int, leaves: Sequence[bytes]) -> list[Subtree]:
    return subtrees_of(begun, leaf_hashes(leaves))
