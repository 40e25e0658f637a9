"""Build a batch from one object of a log."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyturn.access_log.log_files import NotALine
from keyturn.access_log.sources.line_source import KEPT_ASIDE, MOST_MALFORMED, problem_of
from keyturn.access_log.sources.objects import Piece, StoredObject
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, Malformed, SourceRecord

ENOUGH: Final = 20_000
"""The most records per batch."""


class RecordReader(Protocol):
    """Reads the records of a log. Not thread-safe."""

    def accesses(self, record: bytes) -> Sequence[Access]:
        """Return a record's accesses. Raises ValueError, which quotes nothing of it."""


@dataclass
class Taking:
    """The results of one object, which is unread from ``end``."""

    stored: StoredObject
    end: int
    finished: bool = False
    records: list[SourceRecord] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    taken: list[Piece] = field(default_factory=list)
    gaps: tuple[str, ...] = ()

    def pieces(self, pieces: list[Piece], reader: RecordReader, limit: int) -> None:
        """Add the pieces that fit into a batch."""
        for piece in pieces:
            full = len(self.taken) >= ENOUGH or len(self.malformed) >= MOST_MALFORMED
            if full or not self._fits(piece, reader, limit):
                return
            self.taken.append(piece)
            self.end = piece.end
        self.finished = True

    def _fits(self, piece: Piece, reader: RecordReader, limit: int) -> bool:
        position = self._position(piece)
        try:
            accesses = reader.accesses(piece.record)
        except (ValueError, RecursionError) as error:
            self.malformed.append(Malformed(position, problem_of(error), piece.record[:KEPT_ASIDE]))
            return True
        if self.records and len(self.records) + len(accesses) > limit:
            return False
        digest = hashlib.sha256(piece.record).digest()
        self.records += [
            SourceRecord(access, digest, position if not number else f"{position}.{number}")
            for number, access in enumerate(accesses)
        ]
        return True

    def broken(self, error: NotALine, data: bytes) -> "Taking":
        """Note that it is unreadable until a change."""
        self.malformed.append(Malformed(self.stored.key, problem_of(error), data[:KEPT_ASIDE]))
        self.taken.append(Piece(0, 0, data))
        self.end = -self.stored.size
        return self

    def unfinished(self, data: bytes) -> "Taking":
        """Note that its last record is truncated."""
        piece = Piece(self.end, self.end + len(data), data)
        self.malformed.append(Malformed(self._position(piece), "it breaks off", data[:KEPT_ASIDE]))
        self.taken.append(piece)
        self.end = piece.end
        return self

    def cut(self) -> "Taking":
        """Note that it became shorter than what was read."""
        key, size = self.stored.key, self.stored.size
        self.gaps = (f"{key} was read up to byte {self.end:,} and has {size:,} now: it was cut",)
        self.end = self.stored.size
        return self

    def replaced(self) -> "Taking":
        """Note that it was replaced, to read it again."""
        self.gaps = (f"{self.stored.key} is not what was read of it up to byte {self.end:,}: it was replaced",)
        self.end = 0
        return self

    def _position(self, piece: Piece) -> str:
        return f"{self.stored.key}#{piece.begin}"

    def batch(self, cursor: str) -> Batch:
        """Return the batch."""
        if not self.taken:
            return Batch(cursor, gaps=self.gaps, more=True)
        digest = hashlib.sha256()
        for piece in self.taken:
            digest.update(piece.record)
            digest.update(b"\n")
        first, last = self._position(self.taken[0]), self._position(self.taken[-1])
        return Batch(cursor, self.records, len(self.taken), first, last, digest.digest(), self.malformed, more=True)
