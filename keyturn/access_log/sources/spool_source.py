"""What lies in a spool of this machine, read as any other log."""

from datetime import datetime

from msgspec import Raw

from keyturn.access_log.sources.file_cursor import FileCursor
from keyturn.access_log.sources.line_source import LineReader, LineSource
from keyturn.access_log.sources.line_spool import HINT, MARKED, LineSpool, gap_of
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, SourceOpening


class SpoolSource(LineSource):
    """Reads the lines of a spool. Its name has that of the spool behind it, since each machine has one of its own."""

    def __init__(self, opening: SourceOpening, spool: LineSpool, reader: LineReader) -> None:
        self._spool = spool
        super().__init__(f"{opening.name}-{spool.name}", opening.pace, spool.current, MarkedReader(reader), HINT)

    def read(self, cursor: str | None, limit: int) -> Batch:
        """What came after ``cursor``; nothing where nothing was received yet."""
        if not self._spool.current.exists():
            self._spool.append([])
        return super().read(cursor, limit)

    def release(self, cursor: str) -> None:
        """Drop what was read to its end before ``cursor``, which is durable."""
        if cursor:
            FileCursor.parse(self.name, cursor)
        self._spool.release(cursor)


class MarkedReader:
    """Reads the lines of somebody else's log between which a spool has put its own."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._gaps: list[str] = []

    def may_tell(self, line: bytes) -> bool:
        """Whether a line is worth decoding; of the spool's own it takes what it says."""
        if not line.startswith(MARKED):
            return self._reader.may_tell(line)
        self._gaps.append(gap_of(line))
        return False

    def access(self, line: bytes) -> Access | None:
        """What it tells."""
        return self._reader.access(line)

    def written_at(self, line: bytes) -> datetime | None:
        """When it was written; a line of the spool's own does not tell."""
        return self._reader.written_at(line)

    def remember(self) -> tuple[Raw, list[str]]:
        """What the other one remembers, and the gaps that were told since."""
        memory, gaps = self._reader.remember()
        marked, self._gaps = self._gaps, []
        return memory, [*marked, *gaps]

    def recall(self, memory: Raw) -> None:
        """Go on from there."""
        self._gaps = []
        self._reader.recall(memory)
