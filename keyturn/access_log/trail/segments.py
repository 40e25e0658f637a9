"""A segment: what came of one log between two of its cursors, and what the ledger's entry tells of it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from keyturn.core.errors import Invalid

ACTION: Final = "access-segment"
"""The action of the ledger's entry of a segment; its place is the source."""

SHOWN: Final = 120
"""Characters of a position in an entry, whose note has room for 1,000 in all. The head has it whole."""


class BatchLines(Struct, frozen=True, array_like=True):
    """The lines of one batch: positions of the outer ones, how many, SHA-256 over them, how many told of accesses."""

    first: str
    last: str
    lines: int
    digest: bytes
    records: int


class MalformedLine(Struct, frozen=True, array_like=True):
    """A line that could not be read: where it stood, why, and the SHA-256 of its first bytes, which are kept aside."""

    position: str
    problem: str
    digest: bytes


class SegmentHead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of a segment but its events. Its canonical bytes are hashed into the ledger's entry.

    ``number`` counts the segments of a source, from 0. ``trail`` names the directory that its events lie in. ``before``
    and ``after`` are the source's cursors; None is its beginning. ``root`` is that of the Merkle tree (RFC 6962) over
    the leaves of its ``records`` events, and ``blocks`` are those of each 64 of them, one behind the other. Its events
    are of ``earliest`` to ``latest``, by their own time. ``fence`` rises with everybody who seals: of two that begin at
    one cursor the higher one counts.
    """

    source: str
    number: int
    trail: str
    fence: int
    before: str | None
    after: str
    records: int
    root: bytes
    blocks: bytes
    sealed_at: datetime
    batches: tuple[BatchLines, ...]
    earliest: datetime | None = None
    latest: datetime | None = None
    malformed: tuple[MalformedLine, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """How many lines were looked at."""
        return sum(batch.lines for batch in self.batches)

    def encode(self) -> bytes:
        """The canonical bytes: compact JSON with its keys in the order of the fields."""
        return msgspec.json.encode(self)

    def digest(self) -> str:
        """Their SHA-256, in hex digits."""
        return hashlib.sha256(self.encode()).hexdigest()

    def note(self) -> str:
        """What the ledger's entry tells: canonical JSON, short enough for an entry."""
        positions = [batch for batch in self.batches if batch.lines]
        members = {
            "segment": self.number,
            "trail": self.trail,
            "fence": self.fence,
            "before": cursor_digest(self.before),
            "after": cursor_digest(self.after),
            "first": _shown(positions[0].first) if positions else "",
            "last": _shown(positions[-1].last) if positions else "",
            "lines": self.lines,
            "digest": lines_digest(batch.digest for batch in positions),
            "records": self.records,
            "root": self.root.hex(),
            "head": self.digest(),
            "malformed": len(self.malformed),
            "gaps": len(self.gaps),
        }
        if self.latest:
            members["latest"] = self.latest.astimezone(UTC).isoformat()
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class SegmentEntry:
    """What one entry of the ledger tells of a segment. Digests are hex digits, ``entry`` is its number there."""

    entry: int
    source: str
    number: int
    trail: str
    host: str
    fence: int
    before: str
    after: str
    first: str
    last: str
    lines: int
    digest: str
    records: int
    root: str
    head: str
    malformed: int
    gaps: int
    sealed_at: datetime
    latest: datetime | None

    def __str__(self) -> str:
        return f"segment {self.number} of {self.source} (entry {self.entry})"


def parse_note(entry: int, source: str, host: str, sealed_at: datetime, note: str) -> SegmentEntry:
    """What an entry's note tells. Raises Invalid for one that Keyturn would not have written."""
    try:
        members = json.loads(note)
        names = ("trail", "before", "after", "first", "last", "digest", "root", "head")
        trail, before, after, first, last, digest, root, head = (str(members[name]) for name in names)
        counted = ("segment", "fence", "lines", "records", "malformed", "gaps")
        number, fence, lines, records, malformed, gaps = (int(members[name]) for name in counted)
        latest = datetime.fromisoformat(members["latest"]) if "latest" in members else None
        return SegmentEntry(
            entry=entry,
            source=source,
            number=number,
            trail=trail,
            host=host,
            fence=fence,
            before=before,
            after=after,
            first=first,
            last=last,
            lines=lines,
            digest=digest,
            records=records,
            root=root,
            head=head,
            malformed=malformed,
            gaps=gaps,
            sealed_at=sealed_at,
            latest=latest,
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        problem = "its note is not spelled as Keyturn writes it"
        raise Invalid("read", f"entry {entry} of the ledger", problem, "Verify it: keyturn ledger verify") from None


class SealedHead(Struct, frozen=True):
    """A line of the file of a source's heads: the head, and the number of its entry in the ledger of that name."""

    ledger: str
    entry: int
    head: SegmentHead


def decode_head(text: bytes) -> SegmentHead:
    """The head of these bytes. Raises Invalid."""
    try:
        return msgspec.json.decode(text, type=SegmentHead)
    except msgspec.MsgspecError:
        raise Invalid("read", "the head of a segment", "it is not spelled as Keyturn writes it", "") from None


@dataclass(frozen=True)
class EventName:
    """What names an event: its source, its segment's number, and its place in that, from 0: ``hub:17:3``."""

    source: str
    segment: int
    leaf: int

    def __str__(self) -> str:
        return f"{self.source}:{self.segment}:{self.leaf}"

    @classmethod
    def parse(cls, text: str) -> "EventName":
        """The reverse. Raises Invalid."""
        source, _, numbers = text.strip().rpartition(":")
        source, _, segment = source.rpartition(":")
        if not source or not segment.isdecimal() or not numbers.isdecimal():
            hint = "Give it as `keyturn trail events` shows it, such as hub:17:3"
            raise Invalid("find", f"the event {text}", "it is no event's name", hint)
        return cls(source, int(segment), int(numbers))


def cursor_digest(cursor: str | None) -> str:
    """How an entry names a cursor; empty for the beginning."""
    return "" if cursor is None else hashlib.sha256(cursor.encode(errors="replace")).hexdigest()


def lines_digest(batches: Iterable[bytes]) -> str:
    """The digest of all lines of a segment: SHA-256 over those of its batches, in hex digits."""
    return hashlib.sha256(b"".join(batches)).hexdigest()


def _shown(position: str) -> str:
    """A position, with its middle left out where it is too long."""
    if len(json.dumps(position, ensure_ascii=False)) <= SHOWN:
        return position
    half = SHOWN // 4
    return f"{position[:half]}…{position[-half:]}"
