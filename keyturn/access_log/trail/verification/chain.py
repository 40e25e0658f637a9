"""What the ledger tells of the segments of a source: each leads on from the cursor that the one before it ended at.

A writer that was suspended may write its entry after another has gone on in its place. So of two entries that begin at
one cursor that with the higher fence counts, and the other is void: its events are in the first one's, too.
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
    """The entries of an action that ended so, of these numbers. Raises Unavailable, and Invalid for what is no entry.

    They are found by what stands in their tails: no text of another entry holds it, since quotes in texts are escaped.
    """
    needle = f'"action":"{action}","outcome":"{outcome}"'.encode()
    for number, tail in ledger.tails(first, last):
        if isinstance(tail, bytes) and needle in tail:
            yield parse_leaf(leaf_of(number, tail))


def segment_entries(ledger: LedgerSource, first: int = 1, last: int | None = None) -> Iterator[SegmentEntry]:
    """Every entry of a segment, of these numbers, in their order. Raises as :func:`entries_of` does."""
    for numbered in entries_of(ledger, ACTION, Outcome.DONE, first, last):
        entry = numbered.entry
        yield parse_note(numbered.sequence, entry.place, entry.host, entry.time, entry.note)


@dataclass
class SourceChain:
    """The segments of one source, as entries tell of them, in the order of the entries.

    ``last`` is the one that the next leads on from. ``void`` are entries of writers that had lost their turn.
    ``breaks`` are those that do not lead on from the one before.
    """

    last: SegmentEntry | None = None
    void: list[SegmentEntry] = field(default_factory=list)
    breaks: list[tuple[SegmentEntry, SegmentEntry]] = field(default_factory=list)
    _fences: dict[str, int] = field(default_factory=dict)

    def add(self, entry: SegmentEntry) -> bool:
        """Take the next entry; whether it counts by now."""
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
    """The entry of a segment that has this number; None where there is none such. Raises Unavailable, Invalid."""
    return next(segment_entries(ledger, number, number), None) if number else None


def entries_by_number(ledger: LedgerSource) -> dict[tuple[str, int], SegmentEntry]:
    """The entries that count, by source and number of the segment. Raises Unavailable, Invalid."""
    chains: dict[str, SourceChain] = {}
    entries = [entry for entry in segment_entries(ledger) if chains.setdefault(entry.source, SourceChain()).add(entry)]
    void = {entry.entry for chain in chains.values() for entry in chain.void}
    return {(entry.source, entry.number): entry for entry in entries if entry.entry not in void}
