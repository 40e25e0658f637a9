"""Segments that are too old or lost, recorded in the ledger."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from keyturn.access_log.trail.files import telling
from keyturn.access_log.trail.heads import read_heads
from keyturn.access_log.trail.identity import TrailParts, trail_name
from keyturn.access_log.trail.layout import StoredFile, files_of, sources
from keyturn.access_log.trail.merging import merging_alone
from keyturn.access_log.trail.segments import SealedHead, SegmentEntry
from keyturn.access_log.trail.verification.chain import entries_by_number, entries_of
from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import Numbered
from keyturn.ledger.ports import LedgerSource

ACTION: Final = "access-retention"
"""The action of entries about deletion by age. Their place is the source."""
LOSS: Final = "access-loss"
"""The action of entries about declared losses."""

REASON: Final = 500
"""Characters of a person's reason in an entry."""


@dataclass(frozen=True)
class Expired:
    """An entry about segments ``first`` to ``last`` of a source, with events before ``before``.

    With a ``reason``, a person declared them lost, whatever their age.
    """

    source: str
    trail: str
    first: int
    last: int
    before: datetime
    at: datetime
    actor: str = ""
    entry: int = 0
    reason: str = ""

    def covers(self, entry: SegmentEntry) -> bool:
        """Whether it covers this segment and is later than its sealing."""
        same = (entry.source, entry.trail) == (self.source, self.trail)
        return same and self.first <= entry.number <= self.last and self.entry > entry.entry

    def note(self) -> str:
        """Return the entry's note."""
        members = {"trail": self.trail, "first": self.first, "last": self.last, "before": self.before.isoformat()}
        members |= {"reason": self.reason[:REASON]} if self.reason else {}
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def expired_segments(ledger: LedgerSource) -> Iterator[Expired]:
    """Yield deletions by age from the ledger. Raises Unavailable, Invalid."""
    return map(_told, entries_of(ledger, ACTION, Outcome.BEGUN))


def lost_segments(ledger: LedgerSource) -> Iterator[Expired]:
    """Yield declared losses from the ledger. Raises like :func:`expired_segments`."""
    return map(_told, entries_of(ledger, LOSS, Outcome.DONE))


def _told(numbered: Numbered) -> Expired:
    entry = numbered.entry
    try:
        members = json.loads(entry.note)
        first, last, before = int(members["first"]), int(members["last"]), datetime.fromisoformat(members["before"])
        trail, reason = str(members["trail"]), str(members.get("reason", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        problem, hint = "its note is not spelled as Keyturn writes it", "Verify it: keyturn ledger verify"
        raise Invalid("read", f"entry {numbered.sequence} of the ledger", problem, hint) from None
    return Expired(entry.place, trail, first, last, before, entry.time, entry.actor, numbered.sequence, reason)


WriteEntry = Callable[[str, Outcome, str, str], Entry]
"""Creates an entry from action, outcome, place and note."""


def accept_losses(parts: TrailParts, write: WriteEntry, now: datetime, reason: str) -> list[Expired]:
    """Record missing segments as lost, without changing files. Raises Unavailable, Unrecorded."""
    trail, lost = trail_name(parts.files), []
    for source, numbers in missing_segments(parts, trail).items():
        for first, last in _spans(numbers):
            loss = Expired(source, trail, first, last, now, now, reason=reason)
            parts.ledger.append([write(LOSS, Outcome.DONE, source, loss.note())])
            lost.append(loss)
    return lost


def missing_segments(parts: TrailParts, trail: str) -> dict[str, list[int]]:
    """Segments sealed here that are unaccountably missing, by source. Raises Unavailable, Invalid."""
    gone = [*expired_segments(parts.ledger), *lost_segments(parts.ledger)]
    missing: dict[str, list[int]] = {}
    for (source, number), entry in sorted(entries_by_number(parts.ledger).items()):
        if entry.trail == trail and not any(reason.covers(entry) for reason in gone):
            missing.setdefault(source, []).append(number)
    for source, numbers in missing.items():
        heads = {sealed.head.number for sealed in read_heads(parts.files.heads(source))}
        files = files_of(parts.files.directory, source)
        there = {number for stored in files for number in range(stored.first, stored.last + 1)}
        numbers[:] = [number for number in numbers if number not in heads or number not in there]
    return missing


def _spans(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of numbers."""
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        several = [number for _, number in run]
        yield several[0], several[-1]


def delete_expired(parts: TrailParts, write: WriteEntry, now: datetime, keep: timedelta) -> list[Expired]:
    """Delete every file whose events are all older than ``keep``, with ledger entries before and after.

    It keeps a source's newest segment, and does nothing during a merge. Raises Unavailable, Unrecorded.
    """
    with merging_alone(parts.files.directory) as alone:
        return list(_deleted(parts, write, now, now - keep)) if alone else []


def _deleted(parts: TrailParts, write: WriteEntry, now: datetime, before: datetime) -> Iterator[Expired]:
    trail = trail_name(parts.files)
    for source in sources(parts.files.directory):
        heads = {sealed.head.number: sealed for sealed in read_heads(parts.files.heads(source))}
        old = [stored for stored in files_of(parts.files.directory, source) if _is_old(stored, heads, before)]
        for run in _runs(old):
            expired = Expired(source, trail, run[0].first, run[-1].last, before, now)
            parts.ledger.append([write(ACTION, Outcome.BEGUN, source, expired.note())])
            for stored in run:
                with telling("delete", stored.path), suppress(FileNotFoundError):
                    stored.path.unlink()
            parts.ledger.append([write(ACTION, Outcome.DONE, source, expired.note())])
            yield expired


def _is_old(stored: StoredFile, heads: dict[int, SealedHead], before: datetime) -> bool:
    """Whether it is not the newest, and all its events are old by the heads."""
    if stored.last >= max(heads, default=0):
        return False
    within = [heads.get(number) for number in range(stored.first, stored.last + 1)]
    return all(sealed and (sealed.head.latest or sealed.head.sealed_at) < before for sealed in within)


def _runs(files: list[StoredFile]) -> Iterator[list[StoredFile]]:
    """The files in runs of consecutive segments."""
    run: list[StoredFile] = []
    for stored in files:
        if run and stored.first != run[-1].last + 1:
            yield run
            run = []
        run.append(stored)
    if run:
        yield run
