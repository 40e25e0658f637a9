"""A log of lines in files, read as it grows: across rotation by renaming or copying, packing, cuts and restores."""

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
"""Bytes that are kept of a line which can't be read."""

MOST_MALFORMED: Final = 1000
"""Lines of one batch that can't be read; it ends there."""


class LineReader(Protocol):
    """What the lines of a log tell, in their order. Used by one thread."""

    def may_tell(self, line: bytes) -> bool:
        """Whether a line is worth decoding. Raises ValueError for one that can't be a line of this log."""

    def access(self, line: bytes) -> Access | None:
        """What it tells, None where that is no access. Raises ValueError, which quotes nothing of it."""

    def written_at(self, line: bytes) -> datetime | None:
        """When it was written; None where it does not tell."""

    def remember(self) -> tuple[Raw, list[str]]:
        """What later lines need of those so far, 4 KiB at most, and in words what had to be forgotten for that."""

    def recall(self, memory: Raw) -> None:
        """Go on from what was remembered there. Raises ValueError for what it never remembered."""


class LineSource:
    """An :class:`keyturn.core.ports.access_source.AccessSource` of the file at ``path`` and what was rotated beside it.

    A line is taken once its end is there, or once its file was done with. Used by one thread.
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
        """What came after ``cursor``. Raises Unavailable, and Invalid for a cursor of something else."""
        try:
            return self._read(FileCursor.parse(self.name, cursor) if cursor else None, limit)
        except BROKEN as error:
            self._let_go()
            raise Unavailable("read", str(self._path), words(error), self._hint) from None

    def close(self) -> None:
        """Let go of the file."""
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
        """What there is of the log. Raises Unavailable where the file that is written to can't be read."""
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
        """The text of the file that is being read; None where it is not there any more. Raises BROKEN."""
        if self._text and self._head == place.head and (self._text.file.packing or self._text.holds(place.mark)):
            return self._text
        self._let_go()
        for _ in range(TRIES):
            sighted = self._survey().find(place.head)
            if sighted is None:
                return None
            # A rotation may have given its name to another file meanwhile.
            with suppress(FileNotFoundError):
                self._text, self._head = LogText(sighted.file), place.head
                if self._text.begins_with(place.head):
                    return self._text
            self._let_go()
        raise Unavailable("read", str(self._path), "its files get other names while they are looked at", self._hint)

    # --- lines of one file -------------------------------------------------------------------------------

    def _stretch(self, text: LogText, place: FileCursor, limit: int) -> Batch:
        """The next lines of the file, or of what comes after it."""
        lines, whole = self._whole_lines(text, place.mark.offset)
        if lines:
            return self._take(text, place, lines, limit, more=whole or not text.has_name(self._path))
        if text.has_name(self._path):
            return Batch(place.encode())
        listing = self._survey()
        if (sighted := listing.find(place.head)) and not text.has_name(sighted.file.path):
            self._let_go()  # it was packed, or put back: what is there now is read on
            return Batch(place.encode(), more=True)
        if _next(listing, place) is None:
            return Batch(place.encode())
        # The next file holds something, so nothing is written to this one any more: what is left there is the last.
        try:
            rest = self._whole_lines(text, place.mark.offset)[0] or text.read(place.mark.offset, LONGEST)
        except BROKEN as error:
            if not settled(text.file):
                return Batch(place.encode())
            gap = f"{text.file.path.name} could not be read to its end: {words(error)}"
            return self._move_on(place, listing, text, (gap,))
        return self._take(text, place, rest, limit, more=True) if rest else self._move_on(place, listing, text)

    def _whole_lines(self, text: LogText, offset: int) -> tuple[bytes, bool]:
        """The lines from there on that have an end, and whether there is more; of one without end its beginning."""
        data = self._read_on(text, offset, CHUNK)
        size = data.rfind(END) + 1
        if size or len(data) < CHUNK:
            return data[:size], len(data) == CHUNK
        data = self._read_on(text, offset, LONGEST)
        whole, end, _ = data.partition(END)
        return (whole + end if end or len(data) == LONGEST else b""), True

    @staticmethod
    def _read_on(text: LogText, offset: int, size: int) -> bytes:
        """What is there, nothing where a packed file breaks off: that is told once it is done with."""
        try:
            return text.read(offset, size)
        except BROKEN:
            if not text.file.packing:
                raise
            return b""

    def _again(self, text: LogText, place: FileCursor, mark: Mark, limit: int) -> Batch:
        """Go on from the last place that still stands: what came after it was cut, restored or rewritten."""
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
        """To the next file, once there is one."""
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
    """What a batch's lines told so far."""

    place: FileCursor
    reader: LineReader
    records: list[SourceRecord] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)

    def position(self, count: int) -> str:
        """Where the line stands that comes so many after the cursor; empty for none."""
        return f"{self.place.name}:{self.place.mark.line + count}" if count else ""

    def lines(self, data: bytes, limit: int) -> list[bytes]:
        """The lines that were taken, up to the last record that is asked for."""
        lines = data.split(END)
        if not lines[-1]:
            lines.pop()
        for count, line in enumerate(lines, 1):
            if self._takes(line, count) and (len(self.records) >= limit or len(self.malformed) >= MOST_MALFORMED):
                return lines[:count]
        return lines

    def _takes(self, line: bytes, count: int) -> bool:
        """Whether the line became a record, or one that can't be read."""
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
    """Why a line can't be read; quotes nothing of it."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error) if isinstance(error, msgspec.DecodeError | NotALine) else "a time or a number in it is none"


def _next(listing: Survey, place: FileCursor) -> Sighted | None:
    """The oldest file that was not read yet."""
    done = {*place.finished, place.head}
    return next((file for file in listing.files if file.head not in done), None)


def _lost(place: FileCursor) -> str:
    return (
        f"{place.name}, which was read up to line {place.mark.line:,}, is not there any more: what was written to it "
        "after that is not known"
    )


def _replace(place: FileCursor, **changes: object) -> FileCursor:
    return msgspec.structs.replace(place, **changes)
