"""A segment: a log's events between two cursors, and its ledger entry."""

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
"""The action of a segment's ledger entry. Its place is the source."""

SHOWN: Final = 120
"""Characters of a position in an entry. The head has all of it."""


class BatchLines(Struct, frozen=True, array_like=True):
    """A batch's lines: first and last position, count, SHA-256, and number with accesses."""

    first: str
    last: str
    lines: int
    digest: bytes
    records: int


class MalformedLine(Struct, frozen=True, array_like=True):
    """An unreadable line: position, problem, and SHA-256 of its beginning."""

    position: str
    problem: str
    digest: bytes


class SegmentHead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A segment's metadata. The ledger's entry has the hash of its canonical bytes.

    ``number`` counts from 0. ``trail`` names the directory. ``before`` and ``after`` are cursors, None at the
    beginning. ``root`` is that of the Merkle tree (RFC 6962) over its ``records`` events, ``blocks`` has the roots of
    each 64. ``earliest`` and ``latest`` are event times. Of two segments with the same begin, the higher ``fence`` is
    valid.
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
        """The number of lines that were read."""
        return sum(batch.lines for batch in self.batches)

    def encode(self) -> bytes:
        """The canonical bytes: compact JSON with keys in field order."""
        return msgspec.json.encode(self)

    def digest(self) -> str:
        """Their SHA-256 in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    def note(self) -> str:
        """The ledger entry's note: canonical JSON that fits an entry."""
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
    """A ledger entry about a segment. Digests are hex, ``entry`` is its number."""

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
    """Parse an entry's note. Raises Invalid."""
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
    """A head, and its entry in the named ledger."""

    ledger: str
    entry: int
    head: SegmentHead


def decode_head(text: bytes) -> SegmentHead:
    """Decode a head. Raises Invalid."""
    try:
        return msgspec.json.decode(text, type=SegmentHead)
    except msgspec.MsgspecError:
        raise Invalid("read", "the head of a segment", "it is not spelled as Keyturn writes it", "") from None


@dataclass(frozen=True)
class EventName:
    """An event's name: source, segment and place from 0, such as ``hub:17:3``."""

    source: str
    segment: int
    leaf: int

    def __str__(self) -> str:
        return f"{self.source}:{self.segment}:{self.leaf}"

    @classmethod
    def parse(cls, text: str) -> "EventName":
        """Parse a name. Raises Invalid."""
        source, _, numbers = text.strip().rpartition(":")
        source, _, segment = source.rpartition(":")
        if not source or not segment.isdecimal() or not numbers.isdecimal():
            hint = "Give it as `keyturn trail events` shows it, such as hub:17:3"
            raise Invalid("find", f"the event {text}", "it is no event's name", hint)
        return cls(source, int(segment), int(numbers))


def cursor_digest(cursor: str | None) -> str:
    """A cursor's digest, empty for the beginning."""
    return "" if cursor is None else hashlib.sha256(cursor.encode(errors="replace")).hexdigest()


def lines_digest(batches: Iterable[bytes]) -> str:
    """SHA-256 over the digests of all batches, in hex."""
    return hashlib.sha256(b"".join(batches)).hexdigest()


def _shown(position: str) -> str:
    """A position, shortened if it is too long."""
    if len(json.dumps(position, ensure_ascii=False)) <= SHOWN:
        return position
    half = SHOWN // 4
    return f"{position[:half]}…{position[-half:]}"
