"""Compare the trail with the ledger, and report events that were cut, changed, inserted or restored.

Only the ledger is trusted (:mod:`keyturn.ledger.verify`), so every event is hashed again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from keyturn.access_log.trail.cursors import SourceState
from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.heads import read_heads
from keyturn.access_log.trail.identity import known_name
from keyturn.access_log.trail.layout import Segment, StoredFile, files_of, sources
from keyturn.access_log.trail.parquet import segments_of
from keyturn.access_log.trail.retention import Expired, expired_segments, lost_segments
from keyturn.access_log.trail.segments import SegmentEntry, SegmentHead, cursor_digest, decode_head
from keyturn.access_log.trail.spool import OpenSegment, Spool, open_segments
from keyturn.access_log.trail.summaries import summary_holds
from keyturn.access_log.trail.tree import BLOCK, EventTree
from keyturn.access_log.trail.verification.chain import SourceChain, segment_entries
from keyturn.access_log.trail.verification.stored_events import StoredRun, stored_runs
from keyturn.core.errors import KeyturnError, NotFound, Rewritten, Unavailable
from keyturn.ledger.ports import LedgerSource

ATTEMPTS: Final = 3
"""Attempts if files are merged in the meantime."""

States = Callable[[str], SourceState]
"""Returns a source's state in the hub."""


@dataclass(frozen=True)
class TrailProblem:
    """A problem as a sentence, with its segment's ledger entry or 0."""

    what: str
    source: str = ""
    entry: int = 0

    def __str__(self) -> str:
        return self.what


@dataclass
class SourceReport:
    """The findings for one source.

    ``elsewhere`` counts segments of other trails, by trail and host. ``expired`` ones are deleted by age or declared
    lost.
    """

    source: str
    segments: int = 0
    records: int = 0
    verified: int = 0
    newest: SegmentEntry | None = None
    expired: list[Expired] = field(default_factory=list)
    expired_segments: int = 0
    elsewhere: Counter[tuple[str, str]] = field(default_factory=Counter)
    void: int = 0
    malformed: int = 0
    gaps: int = 0
    unsealed: int = 0


@dataclass(frozen=True)
class TrailReport:
    """The findings for a trail. Without problems it is intact."""

    trail: str
    sources: tuple[SourceReport, ...]
    problems: tuple[TrailProblem, ...]
    unseen: tuple[str, ...] = ()
    """What could not be checked, and why."""


def verify_trail(files: TrailFiles, ledger: LedgerSource, states: States | None = None) -> TrailReport:
    """Hash every event again, and compare each segment with its ledger entry.

    With ``states``, compare the hub's cursors too. Raises Unavailable, and Invalid for a malformed entry.
    """
    chains, own = dict[str, SourceChain](), dict[str, list[SegmentEntry]]()
    for entry in segment_entries(ledger):
        chains.setdefault(entry.source, SourceChain()).add(entry)
        own.setdefault(entry.source, []).append(entry)
    trail, gone = _insist_on_trail(files), [*expired_segments(ledger), *lost_segments(ledger)]
    spools = {segment.source: segment for segment in open_segments(files.directory)}
    names = sorted({*chains, *sources(files.directory), *spools})
    looks = [
        _SourceLook(
            files,
            trail,
            chains.get(name, SourceChain()),
            own.get(name, []),
            gone,
            spools.get(name),
            SourceReport(name),
        )
        for name in names
    ]
    for look in looks:
        look.look()
    unseen = [text for look in looks for text in (*look.elsewhere(), *(look.compare_cursor(states) if states else ()))]
    problems = [problem for look in looks for problem in look.problems]
    return TrailReport(trail, tuple(look.report for look in looks), tuple(problems), tuple(unseen))


def _insist_on_trail(files: TrailFiles) -> str:
    """Return the trail's name. Raises NotFound."""
    if name := known_name(files):
        return name
    hint = "Set KEYTURN_TRAIL as it is where `keyturn serve` runs"
    raise NotFound("verify", f"the access trail {files.directory}", "there is none", hint)


@dataclass
class _SourceLook:
    """One source: its entries, its files and their problems."""

    files: TrailFiles
    trail: str
    chain: SourceChain
    entries: list[SegmentEntry]
    gone: list[Expired]
    spool: OpenSegment | None
    report: SourceReport
    problems: list[TrailProblem] = field(default_factory=list)

    def look(self) -> None:
        """Compare entries, heads and files."""
        counted = [entry for entry in self.entries if entry not in self.chain.void]
        own = {entry.number: entry for entry in counted if entry.trail == self.trail}
        self._count(counted)
        self._breaks(counted)
        heads = self._heads(own)
        looked_at = self._files(own, heads)
        for entry in own.values():
            if entry.number not in looked_at:
                self._missing(entry)

    def elsewhere(self) -> Iterator[str]:
        """Report segments in other trails. If all are, this trail may have replaced another."""
        source, count = self.report.source, sum(self.report.elsewhere.values())
        for (trail, host), segments in self.report.elsewhere.items():
            yield f"{segments:,} segments of {source}, stored on {host}, in the trail {trail}"
        if count and count == self.report.segments:
            self._problem(f"no segment of {source} was sealed in this trail: all {count:,} are in others")

    def compare_cursor(self, states: States) -> Iterator[str]:
        """Compare the hub's cursor with the newest segment's end. Yield what can't be checked."""
        source, newest = self.report.source, self.chain.last
        try:
            state = states(source)
        except KeyturnError as error:
            yield f"the cursor of {source} in the hub: {error.problem}"
            return
        cursor, places = cursor_digest(state.cursor), {entry.after for entry in self.entries}
        if newest is None or newest.after in (cursor, cursor_digest(state.pending)):
            return
        if state.entry > newest.entry and cursor not in places:
            yield f"the cursor of {source} in the hub: it has moved on meanwhile"
        else:
            self._problem(f"the cursor of {source} in the hub is not where {newest} has ended: it was changed", newest)

    def _problem(self, what: str, entry: SegmentEntry | None = None) -> None:
        self.problems.append(TrailProblem(what, self.report.source, entry.entry if entry else 0))

    def _count(self, counted: list[SegmentEntry]) -> None:
        report = self.report
        report.segments, report.newest, report.void = len(counted), self.chain.last, len(self.chain.void)
        report.records = sum(entry.records for entry in counted)
        report.malformed = sum(entry.malformed for entry in counted)
        report.gaps = sum(entry.gaps for entry in counted)
        report.elsewhere.update((entry.trail, entry.host) for entry in counted if entry.trail != self.trail)
        if self.spool:
            report.unsealed = sum(1 for _ in self.spool.records())

    def _breaks(self, counted: list[SegmentEntry]) -> None:
        """Report segments that do not follow one another."""
        for before, after in self.chain.breaks:
            self._problem(f"{after} does not lead on from {before}: what is between them is not vouched for", after)
        first = counted[0] if counted else None
        if first and first.number == 0 and first.before:
            self._problem(f"{first} is the first one, and does not begin at the log's beginning", first)

    def _heads(self, own: dict[int, SegmentEntry]) -> dict[int, SegmentHead]:
        """Return the heads whose digests match the ledger."""
        heads: dict[int, SegmentHead] = {}
        try:
            for sealed in read_heads(self.files.heads(self.report.source)):
                heads[sealed.head.number] = sealed.head
        except KeyturnError as error:
            self._problem(f"the heads of {self.report.source}: {error.problem}")
        missing = [entry for entry in own.values() if entry.number not in heads]
        if missing and self.spool and (head := self._sealing()):
            heads[head.number] = head
        for entry in own.values():
            head = heads.get(entry.number)
            if head is None and not any(gone.reason and gone.covers(entry) for gone in self.gone):
                self._problem(f"the head of {entry} is missing", entry)
            elif head and head.digest() != entry.head:
                self._problem(f"the head of {entry} is not what it was", entry)
                del heads[entry.number]
        return heads

    def _sealing(self) -> SegmentHead | None:
        """The head of a segment whose writer ended before it stored the head."""
        try:
            spool = Spool.load(self.files.spool(self.report.source))
        except KeyturnError:
            return None
        return spool.sealing if spool else None

    def _files(self, own: dict[int, SegmentEntry], heads: dict[int, SegmentHead]) -> set[int]:
        """Check every file, and return the segments found."""
        looked_at: set[int] = set()
        for _ in range(ATTEMPTS):
            try:
                files = files_of(self.files.directory, self.report.source)
            except KeyturnError as error:
                self._problem(f"{error.name}: {error.problem}")
                return looked_at
            merged = False
            for stored in files:
                if not set(range(stored.first, stored.last + 1)) <= looked_at:
                    merged |= not self._file(stored, own, heads, looked_at)
            if not merged:
                break
        return looked_at

    def _file(
        self, stored: StoredFile, own: dict[int, SegmentEntry], heads: dict[int, SegmentHead], looked_at: set[int]
    ) -> bool:
        """Check one file, and return whether it still existed."""
        numbers = range(stored.first, stored.last + 1)
        problems, present = len(self.problems), set[int]()
        try:
            for events in _by_segment(stored):
                present.add(events.segment)
                self._events(stored, events, own, heads)
            self._words(stored, own)
            if len(self.problems) == problems and not summary_holds(stored):
                what = f"the summary of {stored.path.name} is not that of its events"
                self._problem(f"{what}: delete it, it is made again")
        except Unavailable as error:
            if not stored.path.exists():
                del self.problems[problems:]
                return False
            self._problem(f"the file {stored.path.name} can't be read: {error.problem}")
        for number in set(numbers) - present - looked_at:
            entry = own.get(number)
            if entry and entry.records and len(self.problems) == problems:
                self._problem(f"all {entry.records:,} events of {entry} are missing in {stored.path.name}", entry)
            elif entry and not entry.records:
                self.report.verified += 1
        looked_at.update(numbers)
        return True

    def _events(
        self, stored: StoredFile, events: "_Events", own: dict[int, SegmentEntry], heads: dict[int, SegmentHead]
    ) -> None:
        """Compare the events of one segment."""
        entry = own.get(events.segment)
        if not stored.first <= events.segment <= stored.last:
            self._problem(f"{stored.path.name} holds events of segment {events.segment}, which is not one of its own")
        elif entry is None:
            if not self._is_expected(events.segment):
                what = f"segment {events.segment} of {self.report.source} is in {stored.path.name}"
                self._problem(f"{what}, and no entry of the ledger records it")
        elif problem := events.problem(entry, heads.get(entry.number)):
            self._problem(f"{entry}: {problem}", entry)
        else:
            self.report.verified += 1

    def _words(self, stored: StoredFile, own: dict[int, SegmentEntry]) -> None:
        """Compare the file's metadata with the segments' heads. Raises Unavailable."""
        try:
            segments = segments_of(stored)
        except Rewritten as error:
            return self._problem(f"{stored.path.name}: {error.problem}")
        for segment in segments:
            entry = own.get(segment.number)
            if entry and (hashlib.sha256(segment.head.encode()).hexdigest() != entry.head or not _fits(segment)):
                self._problem(f"what {stored.path.name} says of {entry} outside its events has changed", entry)
        return None

    def _is_expected(self, number: int) -> bool:
        """Whether it needs no valid entry: it is being sealed, or its entry is void."""
        being_sealed = self.spool is not None and number == self.spool.number
        return being_sealed or any(entry.number == number and entry.trail == self.trail for entry in self.chain.void)

    def _missing(self, entry: SegmentEntry) -> None:
        """Report why a segment is in no file."""
        gone = next((gone for gone in self.gone if gone.covers(entry)), None)
        if gone is None:
            events = f"{entry.records:,} events"
            self._problem(f"{entry} is missing, with {events}: it was deleted, or an older state put back", entry)
        elif gone.reason or (entry.latest or entry.sealed_at) < gone.before:
            self.report.expired_segments += 1
            self.report.expired += [gone] if gone not in self.report.expired else []
        else:
            days = f"events before {gone.before:%Y-%m-%d}"
            self._problem(f"{entry} was deleted by entry {gone.entry}, for {days}: it has younger ones", entry)


@dataclass
class _Events:
    """The events of one segment, as stored in a file."""

    segment: int
    tree: EventTree = field(default_factory=EventTree)
    places: list[int] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)

    def add(self, run: StoredRun) -> None:
        self.tree.extend(run.hashes)
        self.places += run.places
        self.positions += run.positions

    def problem(self, entry: SegmentEntry, head: SegmentHead | None) -> str:
        """Why they differ from the sealed events, or an empty string."""
        in_order = self.places == list(range(entry.records))
        if in_order and self.tree.root.hex() == entry.root:
            return ""
        if not in_order and (misplaced := self._misplaced(entry)):
            return misplaced
        return self._changed(entry, head)

    def _misplaced(self, entry: SegmentEntry) -> str:
        """The difference that their recorded places show."""
        count, there = len(self.places), set(self.places)
        missing = [place for place in range(entry.records) if place not in there]
        if missing:
            end = ", at its end" if missing[0] == count else ""
            if len(missing) == 1:
                return f"event {missing[0]} is missing{end}"
            return f"{len(missing):,} of its {entry.records:,} events are missing, the first of them {missing[0]}{end}"
        if count > entry.records:
            twice = next((place for index, place in enumerate(self.places) if place != index), entry.records)
            where = self.positions[min(twice, count - 1)]
            extra = count - entry.records
            several = "an event was put in," if extra == 1 else f"{extra:,} events were put in, the first"
            return f"{several} as event {twice} ({where})"
        first = next(index for index, place in enumerate(self.places) if place != index)
        return f"its events are in another order from event {first} ({self.positions[first]}) on"

    def _changed(self, entry: SegmentEntry, head: SegmentHead | None) -> str:
        """Where they differ, according to the roots of the blocks."""
        if head is None:
            return "its events are not those that were sealed"
        sealed = [head.blocks[begin : begin + 32] for begin in range(0, len(head.blocks), 32)]
        blocks = self.tree.blocks
        bad = [index for index, block in enumerate(blocks) if index >= len(sealed) or block != sealed[index]]
        if not bad:
            return "its events are not those that were sealed"
        if len(bad) == len(blocks) > 1:
            return "none of its events is where it was sealed: it is another segment's, or was rewritten"
        begin = bad[0] * BLOCK
        end = min(begin + BLOCK, len(self.positions)) - 1
        others = f", and events in {len(bad) - 1:,} other places" if len(bad) > 1 else ""
        where = f"({self.positions[begin]} to {self.positions[end]})"
        return f"one of the events {begin} to {end} {where} is not what it was{others}"


def _by_segment(stored: StoredFile) -> Iterator[_Events]:
    """Yield the events of a file by segment, possibly in several parts."""
    events: _Events | None = None
    for run in stored_runs(stored):
        if events and events.segment != run.segment:
            yield events
            events = None
        events = events or _Events(run.segment)
        events.add(run)
    if events:
        yield events


def _fits(segment: Segment) -> bool:
    """Whether a file's metadata of a segment matches its head."""
    try:
        head = decode_head(segment.head.encode())
    except KeyturnError:
        return False
    words = (head.sealed_at, head.records, head.earliest, head.latest, head.gaps, head.fence)
    return words == (segment.sealed, segment.count, segment.first, segment.last, segment.gaps, segment.fence)
