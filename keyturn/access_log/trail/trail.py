"""The access trail: what each log told is on the disk at once, and vouched for by the ledger within a minute.

A segment is sealed in this order: its events lie in a Parquet file; the hub knows where it will lead, by
compare-and-set; the ledger has its entry; the hub's cursor moves on; its head is kept; the spool is begun anew. Each is
durable before the next. Whoever comes after a crash asks the ledger how far it came, and finishes it or begins it anew:
a segment is known by its source, its number and the cursor before it, so nothing is skipped, and nothing is there
twice.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

from keyturn.access_log.trail.cursors import Cursors, SourceState
from keyturn.access_log.trail.events import write_events
from keyturn.access_log.trail.files import TrailFiles, locked, telling
from keyturn.access_log.trail.identity import TrailParts, trail_name
from keyturn.access_log.trail.quarantine import put_aside
from keyturn.access_log.trail.resume import finish, resume, stale
from keyturn.access_log.trail.retention import Expired, accept_losses, delete_expired
from keyturn.access_log.trail.segments import ACTION, SealedHead, SegmentHead
from keyturn.access_log.trail.spool import Spool
from keyturn.access_log.trail.verification.chain import segment_entries
from keyturn.core.actor import acting
from keyturn.core.errors import Conflict, TransientError
from keyturn.core.ports.access_source import Batch
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.ports import StoredLedger

LARGEST: Final = 250_000
"""Events of a segment, after which it is sealed before the minute is over."""


class Trail:
    """The trail in ``directory``, which the first use makes, vouched for by ``ledger``. Serves many threads.

    ``actor`` tells whom the hub takes this login for. Every verb raises Unavailable where the disk, the hub or the
    ledger can't be read or written, having lost nothing; Rewritten where the directory, the ledger or the hub was put
    back to an earlier state; and Locked where another process keeps the source.
    """

    def __init__(
        self,
        directory: Path,
        ledger: StoredLedger,
        cursors: Cursors,
        actor: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self.directory = directory.absolute()
        self._parts = TrailParts(TrailFiles(self.directory), ledger, cursors)
        self._actor = actor
        self._clock = clock
        self._sources: dict[str, Spool] = {}
        self._turns: dict[str, Lock] = {}

    def cursor(self, source: str) -> str | None:
        """Where to read on: behind all that was taken; None at the log's beginning."""
        with self._turn(source):
            return self._resumed(source).cursor

    def append(self, source: str, cursor_before: str | None, batch: Batch) -> None:
        """Take a batch that was read from ``cursor_before`` on, and return once it is on the disk.

        Raises Conflict where the trail has gone on from there already, or elsewhere: ask :meth:`cursor`, and read on
        from that.
        """
        with self._turn(source):
            spool = self._spool(source)
            if cursor_before != spool.cursor:
                raise stale("append to", source)
            if spool.records >= spool.seal_at:
                spool = self._seal_early(source, spool)
            if batch.lines or batch.gaps or batch.malformed or batch.cursor != cursor_before:
                put_aside(self._parts.files.aside(source), batch.malformed)
                spool.add(batch)

    def seal(self, source: str | None = None) -> list[SegmentHead]:
        """Seal what was taken of one source, or of each that this process has written to.

        That of which there is nothing is left out. Raises Conflict where another writer has gone on in this one's
        place: what was not sealed here is read again there.
        """
        sources = list(self._sources) if source is None else [source]
        heads = [self._seal_source(name) for name in sources]
        return [head for head in heads if head]

    def expire(self, keep: timedelta) -> list[Expired]:
        """Delete the events that are older, as whole files, and tell the ledger of it. Raises Unrecorded."""
        return delete_expired(self._parts, self._entry, self._clock(), keep)

    def accept_losses(self, reason: str) -> list[Expired]:
        """Tell the ledger that what it knows of, and is not here any more, is lost; then it goes on from there."""
        return accept_losses(self._parts, self._entry, self._clock(), reason)

    def close(self) -> None:
        """Let go of it; what is not sealed stays in the spool."""
        self._sources.clear()

    @contextmanager
    def _turn(self, source: str) -> Iterator[None]:
        """One thread and one process at a time."""
        path = self._parts.files.lock(source)
        with self._turns.setdefault(source, Lock()), telling("write", path), locked(path):
            yield

    def _spool(self, source: str) -> Spool:
        """The open segment; where another process has written to it, that is looked at again."""
        spool = self._sources.get(source)
        return spool if spool and spool.is_as_left() else self._resumed(source)

    def _resumed(self, source: str) -> Spool:
        self._sources.pop(source, None)
        spool = self._sources[source] = resume(self._parts, source)
        spool.seal_at = LARGEST
        return spool

    def _seal_source(self, source: str) -> SegmentHead | None:
        with self._turn(source):
            spool = self._spool(source)
            return None if spool.is_empty else self._seal(source, spool)

    def _seal_early(self, source: str, spool: Spool) -> Spool:
        """What holds the sealing up does not hold up what comes in: it is told once a minute."""
        spool.seal_at = spool.records + LARGEST
        with suppress(TransientError):
            self._seal(source, spool)
        return self._spool(source)

    def _seal(self, source: str, spool: Spool) -> SegmentHead:
        """Seal it, and begin the next one."""
        state = self._parts.cursors.read(source)
        if (state.cursor, state.segments) != (spool.beginning.before, spool.beginning.number):
            self._sources.pop(source)
            raise stale("seal", source)
        head = self._head(source, spool, state)
        write_events(self._parts.files.directory, spool, head)
        spool.seal(head)
        # From here on the ledger tells how far it came: where a step fails, the next call asks it.
        self._sources.pop(source)
        state = self._claim(source, state, head)
        sealed = SealedHead(self._parts.ledger.origin, self._record(source, head), head)
        finish(self._parts, state, sealed)
        self._sources[source] = Spool.begin(spool.path, source, head.number + 1, head.after)
        self._sources[source].seal_at = LARGEST
        return head

    def _head(self, source: str, spool: Spool, state: SourceState) -> SegmentHead:
        batches = spool.batches
        return SegmentHead(
            source=source,
            number=spool.beginning.number,
            trail=trail_name(self._parts.files),
            fence=state.version + 1,
            before=spool.beginning.before,
            after=batches[-1].cursor,
            records=spool.records,
            root=spool.tree.root,
            blocks=b"".join(spool.tree.blocks),
            sealed_at=self._clock(),
            batches=tuple(batch.lines for batch in batches),
            earliest=min((batch.earliest for batch in batches if batch.earliest), default=None),
            latest=max((batch.latest for batch in batches if batch.latest), default=None),
            malformed=tuple(line for batch in batches for line in batch.malformed),
            gaps=tuple(gap for batch in batches for gap in batch.gaps),
        )

    def _claim(self, source: str, state: SourceState, head: SegmentHead) -> SourceState:
        """Have the hub know where this segment will lead: of two writers one is refused here."""
        try:
            return self._parts.cursors.write(source, replace(state, pending=head.after, head=head.digest()))
        except Conflict:
            raise stale("seal", source) from None

    def _record(self, source: str, head: SegmentHead) -> int:
        """Write the ledger's entry, and tell its number."""
        ledger, size = self._parts.ledger, self._parts.ledger.size()
        if place := ledger.append([self._entry(ACTION, Outcome.DONE, source, head.note())]):
            return int(str(place).rpartition(" ")[2])
        return next(each.entry for each in segment_entries(ledger, size + 1) if each.head == head.digest())

    def _entry(self, action: str, outcome: Outcome, place: str, note: str) -> Entry:
        run = acting.get()
        remark, host = run.remark if run else f"process {os.getpid()}", socket.gethostname()
        return Entry(self._clock(), self._actor(), action, outcome, place=place, note=note, run=remark, host=host)
