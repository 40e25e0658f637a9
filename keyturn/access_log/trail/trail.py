"""The access trail: events are on disk at once, and sealed in the ledger within a minute.

Sealing writes the Parquet file, claims the next cursor in the hub by compare-and-set, appends the ledger's entry, moves
the hub's cursor, stores the head and replaces the spool. Each step is durable before the next. After a crash, the
ledger shows whether to finish or repeat it. Source, number and previous cursor identify a segment, so that nothing is
skipped or duplicated.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from keyturn.access_log.trail.cursors import Cursors, SourceState
from keyturn.access_log.trail.events import write_events
from keyturn.access_log.trail.files import TrailFiles, locked, opened, telling
from keyturn.access_log.trail.identity import TrailParts, trail_name
from keyturn.access_log.trail.resume import finish, resume, stale
from keyturn.access_log.trail.retention import Expired, accept_losses, delete_expired
from keyturn.access_log.trail.segments import ACTION, SealedHead, SegmentHead
from keyturn.access_log.trail.spool import Spool
from keyturn.access_log.trail.verification.chain import segment_entries
from keyturn.core.actor import acting
from keyturn.core.errors import Conflict, TransientError
from keyturn.core.files import append_durably, make_private_directory
from keyturn.core.ports.access_source import Batch, Malformed
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.ports import StoredLedger

LIMIT: Final = 16 * 1024 * 1024
"""The most bytes per source. The heads have all digests anyway."""


def put_aside(path: Path, lines: Sequence[Malformed]) -> None:
    """Append them as JSON lines with base64. Raises Unavailable."""
    if not lines:
        return
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    with telling("write", path):
        make_private_directory(path.parent)
        with opened(path) as file:
            size = file.seek(0, 2)
            if size + len(content) <= LIMIT:
                append_durably(file.fileno(), content, size)


LARGEST: Final = 250_000
"""Events after which a segment is sealed early."""


class Trail:
    """The trail in ``directory``, created on first use and sealed in ``ledger``. Thread-safe.

    ``actor`` returns this login's name in the hub. Methods raise Unavailable where disk, hub or ledger fail, losing
    nothing, Rewritten where one was restored to an earlier state, and Locked where another process holds the source.
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
        """The cursor after all stored events, None at the log's beginning."""
        with self._turn(source):
            return self._resumed(source).cursor

    def append(self, source: str, cursor_before: str | None, batch: Batch) -> None:
        """Store a batch that was read from ``cursor_before`` durably.

        Raises Conflict where the trail is elsewhere: continue from :meth:`cursor`.
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
        """Seal one source, or each that this process has written to, unless it is empty.

        Raises Conflict where another writer has continued and reads the unsealed events again.
        """
        sources = list(self._sources) if source is None else [source]
        heads = [self._seal_source(name) for name in sources]
        return [head for head in heads if head]

    def expire(self, keep: timedelta) -> list[Expired]:
        """Delete files with only older events, recorded in the ledger. Raises Unrecorded."""
        return delete_expired(self._parts, self._entry, self._clock(), keep)

    def accept_losses(self, reason: str) -> list[Expired]:
        """Record missing segments as lost, so that the trail can continue."""
        return accept_losses(self._parts, self._entry, self._clock(), reason)

    def close(self) -> None:
        """Release the sources. Unsealed events stay in the spool."""
        self._sources.clear()

    @contextmanager
    def _turn(self, source: str) -> Iterator[None]:
        """Allow one thread and one process at a time."""
        path = self._parts.files.lock(source)
        with self._turns.setdefault(source, Lock()), telling("write", path), locked(path):
            yield

    def _spool(self, source: str) -> Spool:
        """Return the open segment, loaded again if it was changed."""
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
        """Seal a full segment. A failure blocks no events, and is reported once a minute."""
        spool.seal_at = spool.records + LARGEST
        with suppress(TransientError):
            self._seal(source, spool)
        return self._spool(source)

    def _seal(self, source: str, spool: Spool) -> SegmentHead:
        """Seal the segment, and begin the next one."""
        state = self._parts.cursors.read(source)
        if (state.cursor, state.segments) != (spool.beginning.before, spool.beginning.number):
            self._sources.pop(source)
            raise stale("seal", source)
        head = self._head(source, spool, state)
        write_events(self._parts.files.directory, spool, head)
        spool.seal(head)
        # From here on the ledger shows the progress. After a failed step, the next call reads it.
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
        """Claim the segment's end in the hub, which refuses a second writer."""
        try:
            return self._parts.cursors.write(source, replace(state, pending=head.after, head=head.digest()))
        except Conflict:
            raise stale("seal", source) from None

    def _record(self, source: str, head: SegmentHead) -> int:
        """Append the ledger's entry, and return its number."""
        ledger, size = self._parts.ledger, self._parts.ledger.size()
        if place := ledger.append([self._entry(ACTION, Outcome.DONE, source, head.note())]):
            return int(str(place).rpartition(" ")[2])
        return next(each.entry for each in segment_entries(ledger, size + 1) if each.head == head.digest())

    def _entry(self, action: str, outcome: Outcome, place: str, note: str) -> Entry:
        run = acting.get()
        remark, host = run.remark if run else f"process {os.getpid()}", socket.gethostname()
        return Entry(self._clock(), self._actor(), action, outcome, place=place, note=note, run=remark, host=host)
