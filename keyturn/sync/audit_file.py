"""Follow an audit file as ``tail -F`` does: across rotation and truncation, from the last position.

The position is stored locally. Writing it to the hub would add lines to the followed file without end.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from keyturn.core.errors import Denied, KeyturnError, NotFound, Unavailable
from keyturn.sync.changes import EVERYTHING, MONOTONIC, Clock, News, read_lines

CHUNK: Final = 4 * 1024 * 1024
"""Bytes per read."""

LONGEST: Final = 64 * 1024 * 1024
"""Maximum bytes of an audit line. The hub accepts requests of at most 32 MiB."""

HEAD: Final = 1024
"""Bytes that identify a file, enough for the time and id of an audit line."""

LAPSE: Final = 10.0
"""Seconds without a look after which a rotated file may have been missed."""


@dataclass(frozen=True)
class Position:
    """A position in a file, identified by inode and digest, with the pending secrets."""

    inode: int
    offset: int
    head: str
    head_size: int
    pending: tuple[str, ...] = ()

    @staticmethod
    def read(file: Path) -> "Position | None":
        """The position stored in ``file``, or None if missing or malformed."""
        try:
            data = json.loads(file.read_text())
            return Position(**{**data, "pending": tuple(data["pending"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # the caller treats it as lost, and reports that everything has changed

    def write(self, file: Path) -> None:
        """Store the position atomically. Raises Unavailable."""
        new = file.with_name(f"{file.name}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                json.dump(asdict(self), out)
            new.replace(file)
        except OSError as error:
            hint = "Give --position a file in a directory that this user may write to"
            raise Unavailable("keep", str(file), error.strerror or type(error).__name__, hint) from None


class AuditFile:
    """A :class:`keyturn.sync.changes.ChangeSource` that reads the changed secrets from ``file``.

    Starts at the stored ``position``, else at the end, and then reports EVERYTHING.
    """

    pause = 0.1

    def __init__(
        self, file: Path, position: Path, changed: Callable[[bytes], str | None], clock: Clock = MONOTONIC
    ) -> None:
        self._path = file
        self._kept = position
        self._changed = changed
        self._clock = clock
        self._file: BinaryIO | None = None
        self._offset = 0
        self._partial = b""
        self._torn = False
        self._head = (hashlib.sha256().hexdigest(), 0)
        self._saved: Position | None = None
        self._looked_at = clock()

    def look(self) -> News:
        """The changes in lines added since. Raises Denied, NotFound, Unavailable."""
        try:
            if self._file is None:
                return self._begin()
            return self._go_on(self._file)
        except OSError as error:
            raise from_system(error, self._path) from None

    def keep(self, pending: Collection[str]) -> None:
        """Store the position and the pending secrets. Raises Unavailable."""
        if self._file is None:
            return
        now = Position(os.fstat(self._file.fileno()).st_ino, self._offset, *self._head, tuple(sorted(pending)))
        if now != self._saved:
            now.write(self._kept)
            self._saved = now

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> News:
        """Open the file at the stored position, or at its end."""
        file, position = self._path.open("rb"), Position.read(self._kept)
        self._file = file
        if position and self._is(file, position):
            self._start(file, position.offset)
            return News(frozenset(position.pending), more=True)
        self._start(file, os.fstat(file.fileno()).st_size)
        return News(frozenset({EVERYTHING}))

    def _is(self, file: BinaryIO, position: Position) -> bool:
        """Whether this is the position's file, and not shortened."""
        stands = os.fstat(file.fileno())
        fits = stands.st_ino == position.inode and stands.st_size >= position.offset
        return fits and _digest(file, position.head_size) == position.head

    def _start(self, file: BinaryIO, offset: int) -> None:
        self._offset, self._partial = offset, b""
        # A start at the end may be in the middle of a line, which can't be parsed.
        self._torn = offset > 0 and os.pread(file.fileno(), 1, offset - 1) != b"\n"
        self._learn_head(file)

    def _learn_head(self, file: BinaryIO) -> None:
        size = min(HEAD, self._offset)
        self._head = (_digest(file, size), size)

    def _go_on(self, file: BinaryIO) -> News:
        lapsed, self._looked_at = self._clock() - self._looked_at > LAPSE, self._clock()
        if self._is_cut(file):
            # The lines written between the last look and the truncation are lost.
            self._start(file, 0)
            return News(frozenset({EVERYTHING}), more=True)
        news = self._read(file)
        if news.more or not self._is_replaced(file):
            return news
        # The new file is not empty, so the hub has closed the old one and its remainder is final.
        rest = self._read(file)
        if rest.more:
            return News(news.paths | rest.paths, news.unreadable + rest.unreadable, more=True)
        self._move_on()
        missed = {EVERYTHING} if lapsed else set()
        return News(news.paths | rest.paths | missed, news.unreadable + rest.unreadable, more=True)

    def _is_cut(self, file: BinaryIO) -> bool:
        """Whether the file was truncated in place (copytruncate)."""
        head, size = self._head
        return os.fstat(file.fileno()).st_size < self._offset + len(self._partial) or _digest(file, size) != head

    def _is_replaced(self, file: BinaryIO) -> bool:
        """Whether another, non-empty file now has the name."""
        with suppress(FileNotFoundError):
            ours, named = os.fstat(file.fileno()), self._path.stat()
            return (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) and named.st_size > 0
        return False

    def _move_on(self) -> None:
        self.close()
        self._file = self._path.open("rb")
        self._start(self._file, 0)

    def _read(self, file: BinaryIO) -> News:
        """Read the complete lines of the next chunk and keep the rest."""
        read = os.pread(file.fileno(), CHUNK, self._offset + len(self._partial))
        whole, end, partial = (self._partial + read).rpartition(b"\n")
        self._partial = partial
        self._offset += len(whole) + len(end)
        if self._torn and end:
            whole, self._torn = whole.partition(b"\n")[2], False
        if end and self._head[1] < HEAD:
            self._learn_head(file)
        paths, unreadable = read_lines(whole, self._changed)
        return News(frozenset(paths), unreadable + self._endless(), more=len(read) == CHUNK)

    def _endless(self) -> int:
        """Drop an overlong line and return the number dropped."""
        if len(self._partial) <= LONGEST:
            return 0
        self._offset += len(self._partial)
        self._partial, self._torn = b"", True
        return 1


def _digest(file: BinaryIO, size: int) -> str:
    """The digest of a file's first ``size`` bytes."""
    return hashlib.sha256(os.pread(file.fileno(), size, 0)).hexdigest()


def from_system(error: OSError, file: Path) -> KeyturnError:
    """Translate an operating system error into Keyturn's."""
    if isinstance(error, FileNotFoundError):
        return NotFound("follow", str(file), "there is no such file", "Enable a file audit device in the hub")
    if isinstance(error, PermissionError):
        hint = "Let this user's group read it (the audit device's option `mode`), or poll the hub instead"
        return Denied("follow", str(file), "it can't be read", hint)
    return Unavailable("follow", str(file), error.strerror or type(error).__name__, "It is tried again by itself")
