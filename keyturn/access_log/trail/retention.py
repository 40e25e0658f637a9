"""Events that are older than they are kept: whole files go, after the ledger was told which, and why."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keyturn.access_log.trail.chain import entries_of
from keyturn.access_log.trail.files import telling
from keyturn.access_log.trail.heads import read_heads
from keyturn.access_log.trail.layout import StoredFile, files_of, sources
from keyturn.access_log.trail.resume import TrailParts, trail_name
from keyturn.access_log.trail.segments import SealedHead
from keyturn.core.errors import Invalid
from keyturn.core.ledger import Entry, Outcome
from keyturn.ledger.ports import LedgerSource

ACTION: Final = "access-retention"
"""The action of the ledger's entries of what was deleted because of its age; their place is the source."""


@dataclass(frozen=True)
class Expired:
    """What one entry tells: the segments ``first`` to ``last`` of a source, whose events are all before ``before``."""

    source: str
    trail: str
    first: int
    last: int
    before: datetime
    at: datetime
    actor: str = ""
    entry: int = 0

    def note(self) -> str:
        """As the entry has it."""
        members = {"trail": self.trail, "first": self.first, "last": self.last, "before": self.before.isoformat()}
        return json.dumps(members, separators=(",", ":"))


def expired_segments(ledger: LedgerSource) -> Iterator[Expired]:
    """What was deleted because of its age, by the ledger. Raises Unavailable, and Invalid for an entry that is none."""
    for numbered in entries_of(ledger, ACTION, Outcome.BEGUN):
        entry = numbered.entry
        try:
            members = json.loads(entry.note)
            first, last, before = int(members["first"]), int(members["last"]), datetime.fromisoformat(members["before"])
            trail = str(members["trail"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            problem, hint = "its note is not spelled as Keyturn writes it", "Verify it: keyturn ledger verify"
            raise Invalid("read", f"entry {numbered.sequence} of the ledger", problem, hint) from None
        yield Expired(entry.place, trail, first, last, before, entry.time, entry.actor, numbered.sequence)


def delete_expired(
    parts: TrailParts, write: Callable[[str, Outcome, str, str], Entry], now: datetime, keep: timedelta
) -> list[Expired]:
    """Delete every file all of whose events are older than ``keep``, and tell the ledger of it before and after.

    ``write`` makes an entry of an action, its outcome, its place and note. The newest segment of a source stays. Raises
    Unavailable, Unrecorded.
    """
    deleted = []
    for source in sources(parts.files.directory):
        heads = {sealed.head.number: sealed for sealed in read_heads(parts.files.heads(source))}
        old = [stored for stored in files_of(parts.files.directory, source) if _is_old(stored, heads, now - keep)]
        for run in _runs(old):
            expired = Expired(source, trail_name(parts.files), run[0].first, run[-1].last, now - keep, now)
            parts.ledger.append([write(ACTION, Outcome.BEGUN, source, expired.note())])
            for stored in run:
                with telling("delete", stored.path), suppress(FileNotFoundError):
                    stored.path.unlink()
            parts.ledger.append([write(ACTION, Outcome.DONE, source, expired.note())])
            deleted.append(expired)
    return deleted


def _is_old(stored: StoredFile, heads: dict[int, SealedHead], before: datetime) -> bool:
    """Whether it is sealed, not the newest, and everything in it happened before; by the heads, not by its name."""
    if stored.last >= max(heads, default=0):
        return False
    within = [heads.get(number) for number in range(stored.first, stored.last + 1)]
    return all(sealed and (sealed.head.latest or sealed.head.sealed_at) < before for sealed in within)


def _runs(files: list[StoredFile]) -> Iterator[list[StoredFile]]:
    """The files in runs of segments that follow on one another."""
    run: list[StoredFile] = []
    for stored in files:
        if run and stored.first != run[-1].last + 1:
            yield run
            run = []
        run.append(stored)
    if run:
        yield run
