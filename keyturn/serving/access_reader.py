"""The part that reads one access log: into the trail, through the rules, and on to the alerts.

Events are durable in the trail before they are judged. After a kill, the next reader judges unconfirmed events again
and sends the missing alerts. New events are sealed into the ledger once a minute.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.ports.access_source import AccessSource, Batch, ReleasesRead, TellsTrouble
from keyturn.core.ports.hub import StatePort
from keyturn.serving.alert_judge import Judge
from keyturn.serving.cursors import Marks
from keyturn.serving.history import remembered
from keyturn.serving.numbers.process import EVENTS, GAPS, MALFORMED, SEGMENTS, Counts
from keyturn.serving.parts import ACCESS, PartHealth, Tenure
from keyturn.sync.lines import one_line

RECORDS: Final = 10_000
"""Maximum number of records per read."""

SEAL: Final = 50.0
"""Seconds until new events are sealed, to keep within a minute."""
AGAIN: Final = 10.0
"""Seconds before a failed seal is tried again."""
ADVANCE: Final = 1.0
"""Seconds between two clock updates of the detector."""


class SealedSegment(Protocol):
    """The reader's view of a sealed segment."""

    @property
    def number(self) -> int:
        """The number of the segment within its source."""

    @property
    def gaps(self) -> Sequence[str]:
        """The gaps of the segment, in words."""


class TrailPort(Protocol):
    """The reader's view of :class:`keyturn.access_log.trail.trail.Trail`."""

    directory: Path

    def cursor(self, source: str) -> str | None:
        """Return the position to continue from."""

    def append(self, source: str, cursor_before: str | None, batch: Batch) -> None:
        """Append a batch, and return once it is durable."""

    def seal(self, source: str | None = None) -> Sequence[SealedSegment]:
        """Seal the new events into the ledger."""


@dataclass(frozen=True)
class Watch:
    """What the readers of one process share; ``idle`` returns whether no alert is waiting."""

    trail: TrailPort
    hub: StatePort
    judge: Judge
    idle: Callable[[], bool]
    clock: Callable[[], datetime]
    counts: Counts
    say: Callable[[str], None]


class AccessReader:
    """Reads one source, which ``open_source`` opens again for each tenure."""

    def __init__(self, source: str, open_source: Callable[[], AccessSource], watch: Watch) -> None:
        self.name = f"{ACCESS}{source}"
        self._source = source
        self._open_source = open_source
        self._watch = watch
        self._judged: str | None = None

    def run(self, tenure: Tenure) -> None:
        """Read until the tenure ends."""
        with closing(self._open_source()) as source:
            reading = _Reading(self._source, source, self._watch, tenure)
            try:
                reading.run(self._judged)
            finally:
                self._judged = reading.judged


class _Reading:
    """One tenure of a reader."""

    def __init__(self, name: str, source: AccessSource, watch: Watch, tenure: Tenure) -> None:
        self._name = name
        self._source = source
        self._watch = watch
        self._tenure = tenure
        self._behind = 0.0
        self._looked_at = self._advance_at = elapsed()
        self._seal_at = float("inf")
        self._trouble = ""
        self._told_gaps: set[str] = set()
        """The gaps that were reported and not sealed yet."""
        self.judged: str | None = None
        """The cursor up to which everything was judged here; None where that is unknown."""
        tenure.measure = self._measure

    def run(self, judged: str | None) -> None:
        watch = self._watch
        self._marks = Marks(watch.hub, self._name, self._tenure.number, watch.clock())
        self._cursor = watch.trail.cursor(self._name)
        if self._cursor is None or judged != self._cursor or not watch.judge.knows(self._name):
            self._recall()
        self.judged = self._cursor
        while not self._tenure.over:
            more = self._read()
            self._seal_in_time()
            self._tick()
            if not more:
                self._tenure.wait(self._source.pace)
        self._end()

    def _read(self) -> bool:
        """Read the next batch, and return whether more is available at once."""
        batch = self._source.read(self._cursor, RECORDS)
        self._tenure.insist()
        if batch.cursor != (self._cursor or "") or batch.lines or batch.gaps or batch.malformed:
            self.judged = None
            self._watch.trail.append(self._name, self._cursor, batch)
            self._cursor = batch.cursor
            self._seal_at = min(self._seal_at, elapsed() + SEAL)
            self._count(batch)
            self._judge(batch)
            self.judged = self._cursor
        self._looked_at = elapsed()
        self._behind = self._age(batch) if batch.more else 0.0
        return batch.more

    def _judge(self, batch: Batch) -> None:
        accesses = [record.access for record in batch.records]
        if not self._watch.judge.take(self._name, accesses, self._marks.mark.begun):
            self._recall()

    def _recall(self) -> None:
        """Restore the detector's memory, and send the alerts that may be missing."""
        watch, mark, now = self._watch, self._marks.mark, self._watch.clock()
        memories = remembered(watch.trail.directory, self._name, now)
        alerts = watch.judge.recall(self._name, memories, mark)
        self._tenure.insist()
        watch.judge.resume(alerts, mark.at, now)

    def _tick(self) -> None:
        if elapsed() >= self._advance_at:
            self._advance_at = elapsed() + ADVANCE
            self._watch.judge.advance(self._watch.clock())
            if not self._watch.judge.knows(self._name):
                self._recall()

    def _seal_in_time(self) -> None:
        if elapsed() < self._seal_at:
            return
        try:
            self._seal()
        except TransientError as error:
            # Reading and judging continue without the seal.
            self._seal_at = elapsed() + AGAIN
            self._say_trouble(error)

    def _seal(self) -> None:
        self._tenure.confirm()
        idle = self._watch.idle()
        now = self._watch.clock()
        sealed = self._watch.trail.seal(self._name)
        self._seal_at = float("inf")
        self._say_trouble(None)
        self._watch.counts.add(SEGMENTS, self._name, len(sealed))
        # The trail finds further gaps, such as a cursor that was set back.
        self._tell_gaps([gap for segment in sealed for gap in segment.gaps if gap not in self._told_gaps])
        self._told_gaps.clear()
        if sealed and isinstance(self._source, ReleasesRead) and self._cursor is not None:
            self._source.release(self._cursor)
        if sealed and idle:
            self._marks.move(max(segment.number for segment in sealed) + 1, now)

    def _end(self) -> None:
        """Seal once more while the lease is held, so that little is read again."""
        if self._seal_at < float("inf") and self._tenure.ours:
            try:
                self._seal()
            except KeyturnError:
                return

    def _count(self, batch: Batch) -> None:
        counts = self._watch.counts
        counts.add(EVENTS, self._name, len(batch.records))
        counts.add(MALFORMED, self._name, len(batch.malformed))
        self._tell_gaps(batch.gaps)
        if batch.malformed:
            first = batch.malformed[0]
            text = f"{len(batch.malformed)} records can't be read, the first at {first.position}: {first.problem}"
            self._watch.say(f"{ACCESS}{self._name}: {one_line(text)}")

    def _tell_gaps(self, gaps: Sequence[str]) -> None:
        self._watch.counts.add(GAPS, self._name, len(gaps))
        self._told_gaps.update(gaps)
        for gap in gaps:
            self._watch.say(f"{ACCESS}{self._name}: {one_line(gap)}")

    def _age(self, batch: Batch) -> float:
        if not batch.records:
            return self._behind
        return max(0.0, (self._watch.clock() - batch.records[-1].access.at).total_seconds())

    def _measure(self) -> PartHealth:
        silent = max(0.0, elapsed() - self._looked_at - self._source.pace)
        sent = self._source.trouble if isinstance(self._source, TellsTrouble) else ""
        return PartHealth(max(self._behind, silent), self._trouble or one_line(sent))

    def _say_trouble(self, error: KeyturnError | None) -> None:
        text = f"it can't be sealed: {one_line(str(error))}" if error else ""
        if text and text != self._trouble:
            self._watch.say(f"error: {ACCESS}{self._name}: {text}")
        elif self._trouble and not text:
            self._watch.say(f"{ACCESS}{self._name}: it is sealed again")
        self._trouble = text
