"""A local spool as a source."""

from datetime import datetime

from msgspec import Raw

from keyturn.access_log.sources.file_cursor import FileCursor
from keyturn.access_log.sources.line_source import LineReader, LineSource
from keyturn.access_log.sources.line_spool import HINT, MARKED, LineSpool, gap_of
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, SourceOpening


class SpoolSource(LineSource):
    """Reads a spool's lines. Its name contains the spool's, which differs by machine."""

    def __init__(self, opening: SourceOpening, spool: LineSpool, reader: LineReader) -> None:
        self._spool = spool
        super().__init__(f"{opening.name}-{spool.name}", opening.pace, spool.current, MarkedReader(reader), HINT)

    def read(self, cursor: str | None, limit: int) -> Batch:
        """Return what came after ``cursor``, nothing before the first line."""
        if not self._spool.current.exists():
            self._spool.append([])
        return super().read(cursor, limit)

    def release(self, cursor: str) -> None:
        """Delete what was read before ``cursor``, which is durable."""
        if cursor:
            FileCursor.parse(self.name, cursor)
        self._spool.release(cursor)


class MarkedReader:
    """Reads another log's lines, mixed with the spool's own."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._gaps: list[str] = []

    def may_tell(self, line: bytes) -> bool:
        """Whether a line is worth decoding. Own lines become gaps."""
        if not line.startswith(MARKED):
            return self._reader.may_tell(line)
        self._gaps.append(gap_of(line))
        return False

    def access(self, line: bytes) -> Access | None:
        """Return its access."""
        return self._reader.access(line)

    def written_at(self, line: bytes) -> datetime | None:
        """When it was written, None for the spool's own lines."""
        return self._reader.written_at(line)

    def remember(self) -> tuple[Raw, list[str]]:
        """Return the other reader's state, and the new gaps."""
        memory, gaps = self._reader.remember()
        marked, self._gaps = self._gaps, []
        return memory, [*marked, *gaps]

    def recall(self, memory: Raw) -> None:
        """Restore a state."""
        self._gaps = []
        self._reader.recall(memory)
