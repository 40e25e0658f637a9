"""A log's files and their text. A file is identified by its first line."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Final

from keyturn.access_log.log_files import BROKEN, LogFile, plausible_start, rotations, words
from keyturn.access_log.sources.file_cursor import START, TAIL, Mark, short_digest

NOTHING: Final = (-1, b"")
"""No offset and no bytes."""

END: Final = b"\n"

HEAD: Final = 1024
"""Bytes that identify a first line, with its time and id."""

FIRST: Final = 64 * 1024
"""Bytes that may contain the first line, to date it."""

UNSETTLED: Final = 60.0
"""Seconds in which a truncated packed file may still be written."""

TRIES: Final = 3
"""Attempts to list the directory while files are renamed."""

TimeOf = Callable[[bytes], datetime | None]
"""Returns when a line was written, None if unknown."""


class LogText:
    """The text of one file from any offset, unpacked."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self._opened = file.opened()
        self._held = (0, b"")

    @property
    def changed(self) -> float:
        """The last change, in seconds since 1970. Raises OSError."""
        return os.fstat(self._opened.fileno()).st_mtime

    @property
    def size(self) -> int:
        """Its stored bytes. Raises OSError."""
        return os.fstat(self._opened.fileno()).st_size

    def begins_with(self, head: str) -> bool:
        """Whether its first line has that digest. Always true for packed files."""
        return bool(self.file.packing) or head_of(self.read(0, FIRST)) == head

    def read(self, offset: int, size: int) -> bytes:
        """Read at most ``size`` bytes from an offset. Raises BROKEN."""
        if not self.file.packing:
            return os.pread(self._opened.fileno(), size, offset)
        begin, held = self._held
        self._held = NOTHING  # after a failure the stream's position is unknown
        if not begin <= offset <= begin + len(held):
            begin, held = self._opened.seek(offset), b""
        if begin > offset or (not held and begin < offset):
            return b""
        # Keep the unpacked bytes until the next read, because seeking back unpacks the file from its beginning.
        held = _as_far_as_it_goes(self._opened, held[offset - begin :], size)
        self._held = (offset, held)
        return held[:size]

    def holds(self, mark: Mark) -> bool:
        """Whether the text before ``mark`` is unchanged. Raises OSError."""
        begin = max(0, mark.offset - TAIL)
        try:
            tail = self.read(begin, mark.offset - begin)
        except BROKEN:
            if not self.file.packing:
                raise
            return False  # it is truncated before that
        return len(tail) == mark.offset - begin and short_digest(tail) == mark.tail

    def has_name(self, path: Path) -> bool:
        """Whether the file of that name is this one."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._opened.fileno()), path.stat())
        return False

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


def _as_far_as_it_goes(opened: BufferedIOBase, held: bytes, size: int) -> bytes:
    """Return the cached bytes and, as far as possible, unpacked ones up to ``size``.

    Raises BROKEN if there are none.
    """
    parts, missing = [held], size - len(held)
    while missing > 0:
        try:
            part = opened.read1(missing)
        except BROKEN:
            if not any(parts):
                raise
            break
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


@dataclass(frozen=True)
class Sighted:
    """A file with its first line's digest ``head`` and time ``began``."""

    file: LogFile
    head: str
    began: datetime
    changed: float
    size: int
    live: bool


@dataclass(frozen=True)
class Unread:
    """A file that could not be read, and why."""

    name: str
    changed: float
    problem: str
    live: bool


@dataclass(frozen=True)
class Survey:
    """A log's files, oldest first and the live one last, and unreadable ones."""

    files: tuple[Sighted, ...]
    unread: tuple[Unread, ...]

    def find(self, head: str) -> Sighted | None:
        """The file with that first line."""
        return next((file for file in self.files if file.head == head), None)


def survey(path: Path, time_of: TimeOf) -> Survey:
    """List a log's file and its rotations. Raises OSError."""
    for _ in range(TRIES - 1):
        with suppress(FileNotFoundError):
            return _survey(path, time_of)
    return _survey(path, time_of)


def _survey(path: Path, time_of: TimeOf) -> Survey:
    by_head: dict[str, Sighted] = {}
    unread: list[Unread] = []
    for file in rotations(path):
        try:
            sighted = _sight(file, file.path == path, time_of)
        except FileNotFoundError:
            raise
        except BROKEN as error:
            if isinstance(error, OSError) or settled(file):
                unread.append(Unread(file.path.name, file.changed().timestamp(), words(error), file.path == path))
            continue
        # A file that is being packed or copied exists twice. The one that may still grow is complete.
        if sighted and (sighted.head not in by_head or _fuller(sighted, by_head[sighted.head])):
            by_head[sighted.head] = sighted
    return Survey(tuple(sorted(by_head.values(), key=_order)), tuple(unread))


def _sight(file: LogFile, live: bool, time_of: TimeOf) -> Sighted | None:
    """Inspect a file, None without a complete line. Raises BROKEN."""
    text = LogText(file)
    try:
        beginning = text.read(0, FIRST)
        changed, size = text.changed, text.size
    finally:
        text.close()
    if not (head := head_of(beginning)):
        return None
    began = plausible_start(time_of(beginning.partition(END)[0]), datetime.fromtimestamp(changed, UTC))
    return Sighted(file, head, began, changed, size, live)


def head_of(beginning: bytes) -> str:
    """The digest of the first line, empty if it is incomplete."""
    first, end, _ = beginning.partition(END)
    return short_digest(first[:HEAD]) if end or len(first) >= HEAD else ""


def _fuller(file: Sighted, other: Sighted) -> bool:
    return (file.live, not file.file.packing, file.size) > (other.live, not other.file.packing, other.size)


def _order(file: Sighted) -> tuple[bool, datetime, float, str]:
    return file.live, file.began, file.changed, file.file.path.name


def settled(file: LogFile) -> bool:
    """Whether a truncated file will stay so."""
    return not file.packing or time.time() - file.path.stat().st_mtime > UNSETTLED


def newest_holding(text: LogText, marks: tuple[Mark, ...]) -> Mark:
    """The newest mark after unchanged text, otherwise the beginning. Raises BROKEN."""
    return next((mark for mark in reversed(marks) if text.holds(mark)), START)
