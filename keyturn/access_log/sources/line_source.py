"""Read a growing log of lines, across renaming, copying, packing, cuts and restores."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Raw

from keyturn.access_log.log_files import BROKEN, LONGEST, NotALine, words
from keyturn.access_log.sources.file_cursor import (
    TAIL,
    FileCursor,
    Mark,
    foreign_cursor,
    short_digest,
    with_finished,
    with_mark,
)
from keyturn.access_log.sources.log_text import (
    END,
    TRIES,
    LogText,
    Sighted,
    Survey,
    newest_holding,
    settled,
    survey,
)
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import Batch, Malformed, SourceRecord

CHUNK: Final = 4 * 1024 * 1024
"""Bytes of whole lines in one batch."""

KEPT_ASIDE: Final = 64 * 1024
"""Bytes that are kept of an unreadable line."""

MOST_MALFORMED: Final = 1000
"""Unreadable lines after which a batch ends."""


class LineReader(Protocol):
    """Reads the lines of a log in their order. Not thread-safe."""

    def may_tell(self, line: bytes) -> bool:
        """Whether a line is worth decoding. Raises ValueError for foreign lines."""

    def access(self, line: bytes) -> Access | None:
        """Return its access, if any. Raises ValueError, which quotes nothing of it."""

    def written_at(self, line: bytes) -> datetime | None:
        """When it was written, None if unknown."""

    def remember(self) -> tuple[Raw, list[str]]:
        """Return the state for later lines, at most 4 KiB, and gaps for what had to be forgotten."""

    def recall(self, memory: Raw) -> None:
        """Restore a state. Raises ValueError."""


class LineSource:
    """An :class:`keyturn.core.ports.access_source.AccessSource` of the file at ``path`` and its rotations.

    A line is read once it ends or its file is complete. Not thread-safe.
    """

    def __init__(self, name: str, pace: float, path: Path, reader: LineReader, hint: str) -> None:
        self.name = name
        self.pace = pace
        self._path = path
        self._reader = reader
        self._hint = hint
        self._text: LogText | None = None
        self._head = ""
        self._verified = False
        self._recalled = b""

    def read(self, cursor: str | None, limit: int) -> Batch:
        """Return what follows ``cursor``. Raises Unavailable, Invalid."""
        try:
            return self._read(FileCursor.parse(self.name, cursor) if cursor else None, limit)
        except BROKEN as error:
            self._let_go()
            raise Unavailable("read", str(self._path), words(error), self._hint) from None

    def close(self) -> None:
        """Close the file."""
        self._let_go()

    def _let_go(self) -> None:
        if self._text is not None:
            self._text.close()
        self._text, self._head, self._verified = None, "", False

    def _read(self, place: FileCursor | None, limit: int) -> Batch:
        if place is None:
            return self._begin(limit)
        text = self._opened(place)
        if text is None:
            return self._move_on(place, self._survey(), None, (_lost(place),))
        mark = place.mark if text.file.packing and self._verified else newest_holding(text, place.marks)
        self._verified = True
        return self._stretch(text, place, limit) if mark == place.mark else self._again(text, place, mark, limit)

    def _survey(self) -> Survey:
        """List the log's files. Raises Unavailable where the live one is unreadable."""
        listing = survey(self._path, self._reader.written_at)
        if refused := next((file.problem for file in listing.unread if file.live), ""):
            raise Unavailable("read", str(self._path), refused, self._hint)
        return listing

    def _begin(self, limit: int) -> Batch:
        listing = self._survey()
        if not listing.files:
            self._insist_on_file()
            return Batch("")
        first = listing.files[0]
        gaps = tuple(f"{file.name} could not be read: {file.problem}" for file in listing.unread)
        batch = self._read(FileCursor(first.head, first.file.path.name, first.changed), limit)
        return replace(batch, gaps=(*gaps, *batch.gaps))

    def _insist_on_file(self) -> None:
        if not self._path.exists():
            raise Unavailable("read", str(self._path), "there is no such file", self._hint)

    def _opened(self, place: FileCursor) -> LogText | None:
        """The text of the current file, None if it is gone. Raises BROKEN."""
        if self._text and self._head == place.head and (self._text.file.packing or self._text.holds(place.mark)):
            return self._text
        self._let_go()
        for _ in range(TRIES):
            sighted = self._survey().find(place.head)
            if sighted is None:
                return None
            # A rotation may have given its name to another file.
            with suppress(FileNotFoundError):
                self._text, self._head = LogText(sighted.file), place.head
                if self._text.begins_with(place.head):
                    return self._text
            self._let_go()
        raise Unavailable("read", str(self._path), "its files get other names while they are looked at", self._hint)

    # --- lines of one file -------------------------------------------------------------------------------

    def _stretch(self, text: LogText, place: FileCursor, limit: int) -> Batch:
        """Return the next lines of the file, or of its successor."""
        lines, whole = self._whole_lines(text, place.mark.offset)
        if lines:
            return self._take(text, place, lines, limit, more=whole or not text.has_name(self._path))
        if text.has_name(self._path):
            return Batch(place.encode())
        listing = self._survey()
        if (sighted := listing.find(place.head)) and not text.has_name(sighted.file.path):
            self._let_go()  # it was packed or restored: continue with the current file
            return Batch(place.encode(), more=True)
        if _next(listing, place) is None:
            return Batch(place.encode())
        # The next file has data, so this one is complete. What remains is its end.
        try:
            rest = self._whole_lines(text, place.mark.offset)[0] or text.read(place.mark.offset, LONGEST)
        except BROKEN as error:
            if not settled(text.file):
                return Batch(place.encode())
            gap = f"{text.file.path.name} could not be read to its end: {words(error)}"
            return self._move_on(place, listing, text, (gap,))
        return self._take(text, place, rest, limit, more=True) if rest else self._move_on(place, listing, text)

    def _whole_lines(self, text: LogText, offset: int) -> tuple[bytes, bool]:
        """Return the complete lines from there, and whether there is more."""
        data = self._read_on(text, offset, CHUNK)
        size = data.rfind(END) + 1
        if size or len(data) < CHUNK:
            return data[:size], len(data) == CHUNK
        data = self._read_on(text, offset, LONGEST)
        whole, end, _ = data.partition(END)
        return (whole + end if end or len(data) == LONGEST else b""), True

    @staticmethod
    def _read_on(text: LogText, offset: int, size: int) -> bytes:
        """Return what can be read, nothing of a truncated packed file, which is reported at its end."""
        try:
            return text.read(offset, size)
        except BROKEN:
            if not text.file.packing:
                raise
            return b""

    def _again(self, text: LogText, place: FileCursor, mark: Mark, limit: int) -> Batch:
        """Continue from the last unchanged mark, with a gap."""
        marks = (*(old for old in place.marks if old.offset < mark.offset), mark)
        gap = (
            f"{text.file.path.name} is not as it was read up to line {place.mark.line:,}: it was cut, restored or "
            f"rewritten, and is read again after line {mark.line:,}"
        )
        batch = self._stretch(text, _replace(place, marks=marks), limit)
        return replace(batch, gaps=(gap, *batch.gaps))

    def _take(self, text: LogText, place: FileCursor, data: bytes, limit: int, *, more: bool) -> Batch:
        self._recall(place)
        taking = _Taking(place, self._reader)
        taken = taking.lines(data, limit)
        size = min(sum(map(len, taken)) + len(taken), len(data))
        read = data[:size]
        end = Mark(place.mark.offset + size, place.mark.line + len(taken), self._tail(text, place, read))
        memory, gaps = self._reader.remember()
        self._recalled = bytes(memory)
        after = _replace(place, marks=with_mark(place.marks, end), changed=text.changed, memory=memory)
        return Batch(
            after.encode(),
            taking.records,
            len(taken),
            taking.position(1),
            taking.position(len(taken)),
            hashlib.sha256(read if read.endswith(END) else read + END).digest(),
            taking.malformed,
            tuple(gaps),
            more or size < len(data),
        )

    def _recall(self, place: FileCursor) -> None:
        if self._recalled == bytes(place.memory):
            return
        try:
            self._reader.recall(place.memory)
        except ValueError:
            raise foreign_cursor(self.name) from None

    @staticmethod
    def _tail(text: LogText, place: FileCursor, read: bytes) -> str:
        if len(read) < TAIL and place.mark.offset:
            begin = max(0, place.mark.offset + len(read) - TAIL)
            read = text.read(begin, place.mark.offset - begin) + read
        return short_digest(read[-TAIL:])

    # --- from one file to the next -----------------------------------------------------------------------

    def _move_on(self, place: FileCursor, listing: Survey, text: LogText | None, gaps: tuple[str, ...] = ()) -> Batch:
        """Move to the next file, if there is one."""
        following = _next(listing, place)
        if following is None:
            self._insist_on_file()
            return Batch(place.encode())
        changed = text.changed if text else place.changed
        gaps += tuple(
            f"{file.name}, which came after {place.name}, could not be read: {file.problem}"
            for file in listing.unread
            if changed < file.changed <= following.changed
        )
        finished = with_finished(place.finished, place.head)
        self._let_go()
        after = FileCursor(
            following.head, following.file.path.name, following.changed, finished=finished, memory=place.memory
        )
        return Batch(after.encode(), gaps=gaps, more=True)


@dataclass
class _Taking:
    """The results of a batch's lines so far."""

    place: FileCursor
    reader: LineReader
    records: list[SourceRecord] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)

    def position(self, count: int) -> str:
        """The position of this line after the cursor, empty for 0."""
        return f"{self.place.name}:{self.place.mark.line + count}" if count else ""

    def lines(self, data: bytes, limit: int) -> list[bytes]:
        """Return the lines read, up to the last requested record."""
        lines = data.split(END)
        if not lines[-1]:
            lines.pop()
        for count, line in enumerate(lines, 1):
            if self._takes(line, count) and (len(self.records) >= limit or len(self.malformed) >= MOST_MALFORMED):
                return lines[:count]
        return lines

    def _takes(self, line: bytes, count: int) -> bool:
        """Whether the line became a record or is unreadable."""
        if not line:
            return False
        try:
            access = self.reader.access(line) if self.reader.may_tell(line) else None
        except ValueError as error:
            self.malformed.append(Malformed(self.position(count), problem_of(error), line[:KEPT_ASIDE]))
            return True
        if access is None:
            return False
        self.records.append(SourceRecord(access, hashlib.sha256(line).digest(), self.position(count)))
        return True


def problem_of(error: ValueError | RecursionError) -> str:
    """Why a line can't be read, quoting nothing of it."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error) if isinstance(error, msgspec.DecodeError | NotALine) else "a time or a number in it is none"


def _next(listing: Survey, place: FileCursor) -> Sighted | None:
    """The oldest unread file."""
    done = {*place.finished, place.head}
    return next((file for file in listing.files if file.head not in done), None)


def _lost(place: FileCursor) -> str:
    return (
        f"{place.name}, which was read up to line {place.mark.line:,}, is not there any more: what was written to it "
        "after that is not known"
    )


def _replace(place: FileCursor, **changes: object) -> FileCursor:
    return msgspec.structs.replace(place, **changes)
