"""What a log's files hold, and which of them there are: each known by its first line, whatever it is called now."""

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
"""No place in a file, and no bytes from there on."""

END: Final = b"\n"

HEAD: Final = 1024
"""Bytes of a first line that are looked at: an audit line begins with its time and an id."""

FIRST: Final = 64 * 1024
"""Bytes that are searched for the end of the first line, to date it."""

UNSETTLED: Final = 60.0
"""Seconds after the last change in which a packed file that breaks off may be being written still."""

TRIES: Final = 3
"""How often the directory is looked at where files are renamed meanwhile."""

TimeOf = Callable[[bytes], datetime | None]
"""When a line was written; None where it does not tell."""


class LogText:
    """The text of one file, from any place on; of a packed one, what is unpacked."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self._opened = file.opened()
        self._held = (0, b"")

    @property
    def changed(self) -> float:
        """When it was last written to, in seconds since 1970. Raises OSError."""
        return os.fstat(self._opened.fileno()).st_mtime

    @property
    def size(self) -> int:
        """Its bytes, as they lie there. Raises OSError."""
        return os.fstat(self._opened.fileno()).st_size

    def begins_with(self, head: str) -> bool:
        """Whether its first line is the one of that digest; of a packed file, which nobody renames, it is not asked."""
        return bool(self.file.packing) or head_of(self.read(0, FIRST)) == head

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from there on, fewer at its end. Raises BROKEN where nothing can be read."""
        if not self.file.packing:
            return os.pread(self._opened.fileno(), size, offset)
        begin, held = self._held
        self._held = NOTHING  # where it breaks off, nobody knows where the stream stands
        if not begin <= offset <= begin + len(held):
            begin, held = self._opened.seek(offset), b""
        if begin > offset or (not held and begin < offset):
            return b""
        # What was unpacked is held until the next read: to go back in a packed file is to unpack it from its beginning.
        held = _as_far_as_it_goes(self._opened, held[offset - begin :], size)
        self._held = (offset, held)
        return held[:size]

    def holds(self, mark: Mark) -> bool:
        """Whether what was read before ``mark`` still ends there. Raises OSError."""
        begin = max(0, mark.offset - TAIL)
        try:
            tail = self.read(begin, mark.offset - begin)
        except BROKEN:
            if not self.file.packing:
                raise
            return False  # it breaks off before that
        return len(tail) == mark.offset - begin and short_digest(tail) == mark.tail

    def has_name(self, path: Path) -> bool:
        """Whether the file of that name is this one."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._opened.fileno()), path.stat())
        return False

    def close(self) -> None:
        """Let go of it."""
        self._opened.close()


def _as_far_as_it_goes(opened: BufferedIOBase, held: bytes, size: int) -> bytes:
    """What is held, and what can be unpacked after it, at least ``size`` bytes; raises BROKEN where that is nothing."""
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
    """A file that holds a line: ``head`` is the digest of its first one, ``began`` when that was written."""

    file: LogFile
    head: str
    began: datetime
    changed: float
    size: int
    live: bool


@dataclass(frozen=True)
class Unread:
    """A file that could not be looked at, and why."""

    name: str
    changed: float
    problem: str
    live: bool


@dataclass(frozen=True)
class Survey:
    """The files of a log, oldest first, the one that is written to last; and those that can't be read."""

    files: tuple[Sighted, ...]
    unread: tuple[Unread, ...]

    def find(self, head: str) -> Sighted | None:
        """The file with that first line."""
        return next((file for file in self.files if file.head == head), None)


def survey(path: Path, time_of: TimeOf) -> Survey:
    """Look at the file of a log and what was rotated beside it. Raises OSError."""
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
        # One that is being packed or copied stands there twice: the one that may still grow has all of it.
        if sighted and (sighted.head not in by_head or _fuller(sighted, by_head[sighted.head])):
            by_head[sighted.head] = sighted
    return Survey(tuple(sorted(by_head.values(), key=_order)), tuple(unread))


def _sight(file: LogFile, live: bool, time_of: TimeOf) -> Sighted | None:
    """What is seen of a file; None where it holds no whole line yet. Raises BROKEN."""
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
    """The digest of the first line; empty where that is not there yet."""
    first, end, _ = beginning.partition(END)
    return short_digest(first[:HEAD]) if end or len(first) >= HEAD else ""


def _fuller(file: Sighted, other: Sighted) -> bool:
    return (file.live, not file.file.packing, file.size) > (other.live, not other.file.packing, other.size)


def _order(file: Sighted) -> tuple[bool, datetime, float, str]:
    return file.live, file.began, file.changed, file.file.path.name


def settled(file: LogFile) -> bool:
    """Whether a file that breaks off will stay so."""
    return not file.packing or time.time() - file.path.stat().st_mtime > UNSETTLED


def newest_holding(text: LogText, marks: tuple[Mark, ...]) -> Mark:
    """The newest of these marks before which the file still holds what was read; else its beginning. Raises BROKEN."""
    return next((mark for mark in reversed(marks) if text.holds(mark)), START)
