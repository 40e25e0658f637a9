"""The ledger's segments of a source, each of which begins at the previous one's end.

A suspended writer may append an entry after another has continued. Of two with the same begin, the higher fence is
valid. The other is void, and its events are in the valid one too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from keyturn.access_log.trail.segments import ACTION, SegmentEntry, parse_note
from keyturn.core.ports.ledger import Outcome
from keyturn.ledger.entries import Numbered, leaf_of, parse_leaf
from keyturn.ledger.ports import LedgerSource


def entries_of(
    ledger: LedgerSource, action: str, outcome: Outcome, first: int = 1, last: int | None = None
) -> Iterator[Numbered]:
    """Yield the entries with an action and outcome. Raises Unavailable, and Invalid for a malformed entry.

    A byte search suffices, because quotes in texts are escaped.
    """
    needle = f'"action":"{action}","outcome":"{outcome}"'.encode()
    for number, tail in ledger.tails(first, last):
        if isinstance(tail, bytes) and needle in tail:
            yield parse_leaf(leaf_of(number, tail))


def segment_entries(ledger: LedgerSource, first: int = 1, last: int | None = None) -> Iterator[SegmentEntry]:
    """Yield the segment entries in order. Raises like :func:`entries_of`."""
    for numbered in entries_of(ledger, ACTION, Outcome.DONE, first, last):
        entry = numbered.entry
        yield parse_note(numbered.sequence, entry.place, entry.host, entry.time, entry.note)


@dataclass
class SourceChain:
    """A source's segments in the order of their entries.

    The next one follows ``last``. ``void`` entries are of superseded writers, ``breaks`` are pairs that do not fit.
    """

    last: SegmentEntry | None = None
    void: list[SegmentEntry] = field(default_factory=list)
    breaks: list[tuple[SegmentEntry, SegmentEntry]] = field(default_factory=list)
    _fences: dict[str, int] = field(default_factory=dict)

    def add(self, entry: SegmentEntry) -> bool:
        """Add the next entry, and return whether it is valid so far."""
        last = self.last
        if last and entry.before == last.before and entry.fence > last.fence:
            self.void.append(last)
        elif last and entry.before != last.after and self._fences.get(entry.before, -1) >= entry.fence:
            self.void.append(entry)
            return False
        elif last and (entry.before, entry.number) != (last.after, last.number + 1):
            self.breaks.append((last, entry))
        self._fences[entry.before] = entry.fence
        self.last = entry
        return True


def entry_at(ledger: LedgerSource, number: int) -> SegmentEntry | None:
    """The segment entry with this number, or None. Raises Unavailable, Invalid."""
    return next(segment_entries(ledger, number, number), None) if number else None


def entries_by_number(ledger: LedgerSource) -> dict[tuple[str, int], SegmentEntry]:
    """The valid entries by source and segment number. Raises Unavailable, Invalid."""
    chains: dict[str, SourceChain] = {}
    entries = [entry for entry in segment_entries(ledger) if chains.setdefault(entry.source, SourceChain()).add(entry)]
    void = {entry.entry for chain in chains.values() for entry in chain.void}
    return {(entry.source, entry.number): entry for entry in entries if entry.entry not in void}
