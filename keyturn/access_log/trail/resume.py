"""Where a source continues, according to the ledger, the hub and this directory.

The ledger has the cursor's digest, the hub or the segment's head the cursor itself. Contradictions show a change or a
restored backup, and are reported.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from keyturn.access_log.trail.cursors import SourceState
from keyturn.access_log.trail.events import discard_events, write_events
from keyturn.access_log.trail.files import telling
from keyturn.access_log.trail.heads import add_head, last_head
from keyturn.access_log.trail.identity import REMEDY, TrailParts, trail_name
from keyturn.access_log.trail.retention import lost_segments
from keyturn.access_log.trail.segments import SealedHead, SegmentEntry, SegmentHead, cursor_digest
from keyturn.access_log.trail.spool import Spool
from keyturn.access_log.trail.verification.chain import SourceChain, entry_at, segment_entries
from keyturn.core.errors import Conflict, Rewritten
from keyturn.core.ports.access_source import Batch

ATTEMPTS: Final = 5
"""Attempts if another host seals in the meantime."""


@dataclass(frozen=True)
class _Base:
    """Where the open segment begins, and its remarks."""

    cursor: str | None
    number: int
    remarks: tuple[str, ...] = ()


def resume(parts: TrailParts, source: str) -> Spool:
    """Finish what a crash interrupted, and return the source's open segment.

    Raises Rewritten where directory, ledger and hub contradict, and Unavailable.
    """
    for _ in range(ATTEMPTS):
        state = parts.cursors.read(source)
        try:
            return _resume(parts, source, state)
        except (Conflict, Rewritten):
            # A contradiction means nothing if another host sealed a segment in between.
            if parts.cursors.read(source).version == state.version:
                raise
    raise stale("go on with", source)


def _resume(parts: TrailParts, source: str, state: SourceState) -> Spool:
    files, name = parts.files, trail_name(parts.files)
    spool, latest = Spool.load(files.spool(source)), last_head(files.heads(source))
    _insist_on_entry(parts, source, latest)
    chain, unknown = _chain(parts, source, name, latest)
    newest = chain.last
    if spool and spool.sealing and (entry := _entry_of(spool.sealing, unknown)):
        sealed = SealedHead(parts.ledger.origin, entry.entry, spool.sealing)
        write_events(files.directory, spool, spool.sealing)
        add_head(files.heads(source), sealed)
        latest, unknown = sealed, [other for other in unknown if other != entry]
    if unknown:
        losses = list(lost_segments(parts.ledger))
        unknown = [entry for entry in unknown if not any(loss.covers(entry) for loss in losses)]
    if unknown:
        problem = f"the ledger records {unknown[-1]}, which was sealed here, and it is not here"
        raise Rewritten(
            "go on with", f"the access trail {files.directory}", f"{problem}: an older state was put back", REMEDY
        )
    base = _after(parts, source, state, newest, latest) if newest else _unsealed(parts, source, state)
    if spool is None and latest is None and newest and newest.host == socket.gethostname():
        gone = f"the trail {newest.trail}, in which {newest} lay on {newest.host}, is not here: a new one was begun"
        base = replace(base, remarks=(*base.remarks, gone))
    return _fitting(parts, source, spool, base, latest)


def _entry_of(head: SegmentHead, entries: Sequence[SegmentEntry]) -> SegmentEntry | None:
    """Return a segment's entry, not necessarily the newest one."""
    digest = head.digest()
    return next((entry for entry in entries if entry.head == digest), None)


def finish(parts: TrailParts, state: SourceState, sealed: SealedHead) -> None:
    """Move the hub's cursor behind a segment in the ledger, and store its head.

    Raises Conflict where another writer has continued, so that the segment may be void.
    """
    head = sealed.head
    _move_on(parts, state, head.source, head.after, head.number + 1, sealed.entry)
    add_head(parts.files.heads(head.source), sealed)


def stale(doing: str, source: str) -> Conflict:
    """Return the error for a cursor that another process has moved."""
    hint = "Read on from where the trail is by now"
    return Conflict(doing, f"the access trail of {source}", "it has gone on from another cursor meanwhile", hint)


def _insist_on_entry(parts: TrailParts, source: str, latest: SealedHead | None) -> None:
    """Raise Rewritten where the ledger lacks the newest segment here."""
    if latest is None or latest.ledger != parts.ledger.origin:
        return
    entry = entry_at(parts.ledger, latest.entry)
    if entry is None or entry.head != latest.head.digest():
        problem = f"it has not the entry {latest.entry}, by which segment {latest.head.number} of {source} was sealed"
        hint = f"An older state of it was put back, or it is another one. {REMEDY}"
        raise Rewritten("go on with", f"the ledger {parts.ledger.origin}", problem, hint)


def _chain(
    parts: TrailParts, source: str, name: str, latest: SealedHead | None
) -> tuple[SourceChain, list[SegmentEntry]]:
    """The ledger's newest segments, and those of this trail without heads."""
    chain, unknown = SourceChain(), list[SegmentEntry]()
    first = latest.entry if latest and latest.ledger == parts.ledger.origin else 1
    for entry in segment_entries(parts.ledger, first):
        if entry.source == source:
            chain.add(entry)
            if entry.trail == name and not (latest and entry.number <= latest.head.number):
                unknown.append(entry)
    return chain, [entry for entry in unknown if entry not in chain.void]


def _after(
    parts: TrailParts, source: str, state: SourceState, newest: SegmentEntry, latest: SealedHead | None
) -> _Base:
    """Continue after the ledger's newest segment, and update the hub."""
    origin = parts.ledger.origin
    if state.ledger == origin and state.entry > newest.entry:
        problem = f"the hub knows of entry {state.entry} about {source}, and its newest one is {newest.entry}"
        raise Rewritten("go on with", f"the ledger {origin}", f"{problem}: an older state was put back", REMEDY)
    expected = SourceState(state.cursor, newest.number + 1, newest.entry, origin)
    if cursor_digest(state.cursor) == newest.after and state.cursor is not None:
        if (state.segments, state.entry, state.ledger) != (expected.segments, expected.entry, origin):
            _move_on(parts, state, source, state.cursor, newest.number + 1, newest.entry)
        return _Base(state.cursor, newest.number + 1)
    if state.pending and cursor_digest(state.pending) == newest.after:
        _move_on(parts, state, source, state.pending, newest.number + 1, newest.entry)
        return _Base(state.pending, newest.number + 1)
    if latest is None or cursor_digest(latest.head.after) != newest.after:
        problem = f"it is not where {newest} has ended"
        hint = f"It was changed, or the hub was restored; the trail on {newest.host} knows the cursor. {REMEDY}"
        raise Rewritten("go on with", f"the cursor of {source} in the hub", problem, hint)
    _move_on(parts, state, source, latest.head.after, newest.number + 1, newest.entry)
    remark = f"the cursor of {source} in the hub was not where {newest} had ended: it was changed, or the hub put back"
    return _Base(latest.head.after, newest.number + 1, (remark,))


def _unsealed(parts: TrailParts, source: str, state: SourceState) -> _Base:
    """Continue without an entry: at the beginning, or after another ledger."""
    if not state.segments:
        return _Base(None, 0)
    if state.ledger == parts.ledger.origin:
        problem = f"it has no entry about {source}, and the hub knows of entry {state.entry}"
        raise Rewritten(
            "go on with", f"the ledger {parts.ledger.origin}", f"{problem}: an older state was put back", REMEDY
        )
    return _Base(state.cursor, state.segments)


def _move_on(parts: TrailParts, state: SourceState, source: str, cursor: str, segments: int, entry: int) -> None:
    """Move the hub's cursor. Raises Conflict."""
    try:
        parts.cursors.write(source, SourceState(cursor, segments, entry, parts.ledger.origin, version=state.version))
    except Conflict:
        raise stale("seal", source) from None


def _fitting(parts: TrailParts, source: str, spool: Spool | None, base: _Base, latest: SealedHead | None) -> Spool:
    """Return the spool that begins there, or a new one. An overtaken spool is renamed."""
    path, remarks = parts.files.spool(source), base.remarks
    if spool and (spool.beginning.before, spool.beginning.number) == (base.cursor, base.number):
        discard_events(parts.files.directory, source, base.number)
    else:
        sealed = latest and latest.head.number == spool.beginning.number if spool else True
        if spool and not spool.is_empty and not sealed:
            discard_events(parts.files.directory, source, spool.beginning.number)
            beside = path.with_suffix(f".{spool.beginning.number}.overtaken")
            with telling("move", path):
                os.replace(path, beside)
            remarks += (
                f"{spool.records} events that {socket.gethostname()} had taken and not sealed were read elsewhere, too",
            )
        spool = Spool.begin(path, source, base.number, base.cursor)
    if remarks:
        spool.add(Batch(base.cursor or "", gaps=remarks))
    return spool
