"""An audit file followed as ``tail -F`` does: across rotation and truncation, and on from where it was left.

The position lies in a small file of its own and not in the hub: it is about a file of this machine, and writing it
to the hub would add a line to the very file that is followed, for ever.
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
"""Bytes read in one look; where there are more, the next look follows at once."""

LONGEST: Final = 64 * 1024 * 1024
"""Bytes of one line, above which it is no audit line: the hub takes requests of 32 MiB at most."""

HEAD: Final = 1024
"""Bytes from a file's beginning that tell it from another one: an audit line begins with its time and an id."""

LAPSE: Final = 10.0
"""Seconds without a look in which more than one file may have come and gone."""


@dataclass(frozen=True)
class Position:
    """Where in which file, by its inode and the digest of its first bytes, and which secrets were still to be done."""

    inode: int
    offset: int
    head: str
    head_size: int
    pending: tuple[str, ...] = ()

    @staticmethod
    def read(file: Path) -> "Position | None":
        """The one kept there; None where there is none that makes sense."""
        try:
            data = json.loads(file.read_text())
            return Position(**{**data, "pending": tuple(data["pending"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None  # the caller takes it as lost, and looks at everything

    def write(self, file: Path) -> None:
        """Keep it, whole or not at all. Raises Unavailable."""
        new = file.with_name(f"{file.name}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
                json.dump(asdict(self), out)
            new.replace(file)
        except OSError as error:
            hint = "Give --position a file in a directory that this user may write to"
            raise Unavailable("keep", str(file), error.strerror or type(error).__name__, hint) from None


class AuditFile:
    """A :class:`keyturn.sync.changes.ChangeSource`: the secrets that the lines of ``file`` tell changes of.

    Begins at the end of the file, or where ``position`` says; where that is lost, EVERYTHING has changed.
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
        """What the lines added since the last look tell. Raises Denied, NotFound, Unavailable."""
        try:
            if self._file is None:
                return self._begin()
            return self._go_on(self._file)
        except OSError as error:
            raise from_system(error, self._path) from None

    def keep(self, pending: Collection[str]) -> None:
        """Remember the position, and which of the secrets before it are not done. Raises Unavailable."""
        if self._file is None:
            return
        now = Position(os.fstat(self._file.fileno()).st_ino, self._offset, *self._head, tuple(sorted(pending)))
        if now != self._saved:
            now.write(self._kept)
            self._saved = now

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> News:
        """Open the file where it was left, or at its end."""
        file, position = self._path.open("rb"), Position.read(self._kept)
        self._file = file
        if position and self._is(file, position):
            self._start(file, position.offset)
            return News(frozenset(position.pending), more=True)
        self._start(file, os.fstat(file.fileno()).st_size)
        return News(frozenset({EVERYTHING}))

    def _is(self, file: BinaryIO, position: Position) -> bool:
        """Whether this is the file of the position, and no shorter than it was."""
        stands = os.fstat(file.fileno())
        fits = stands.st_ino == position.inode and stands.st_size >= position.offset
        return fits and _digest(file, position.head_size) == position.head

    def _start(self, file: BinaryIO, offset: int) -> None:
        self._offset, self._partial = offset, b""
        # Whoever starts at the end may start within a line, which tells nothing.
        self._torn = offset > 0 and os.pread(file.fileno(), 1, offset - 1) != b"\n"
        self._learn_head(file)

    def _learn_head(self, file: BinaryIO) -> None:
        size = min(HEAD, self._offset)
        self._head = (_digest(file, size), size)

    def _go_on(self, file: BinaryIO) -> News:
        lapsed, self._looked_at = self._clock() - self._looked_at > LAPSE, self._clock()
        if self._is_cut(file):
            # What stood between the last look and the cut can't be told any more.
            self._start(file, 0)
            return News(frozenset({EVERYTHING}), more=True)
        news = self._read(file)
        if news.more or not self._is_replaced(file):
            return news
        # The new file holds something, so the hub has let go of the old one: what is left there is the last of it.
        rest = self._read(file)
        if rest.more:
            return News(news.paths | rest.paths, news.unreadable + rest.unreadable, more=True)
        self._move_on()
        missed = {EVERYTHING} if lapsed else set()
        return News(news.paths | rest.paths | missed, news.unreadable + rest.unreadable, more=True)

    def _is_cut(self, file: BinaryIO) -> bool:
        """Whether the file was truncated in place, as logrotate's copytruncate does."""
        head, size = self._head
        return os.fstat(file.fileno()).st_size < self._offset + len(self._partial) or _digest(file, size) != head

    def _is_replaced(self, file: BinaryIO) -> bool:
        """Whether another file has the name, and the hub writes to it."""
        with suppress(FileNotFoundError):
            ours, named = os.fstat(file.fileno()), self._path.stat()
            return (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) and named.st_size > 0
        return False

    def _move_on(self) -> None:
        self.close()
        self._file = self._path.open("rb")
        self._start(self._file, 0)

    def _read(self, file: BinaryIO) -> News:
        """The whole lines of the next chunk; what follows the last of them waits for its end."""
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
        """Drop a line that has no end; how many were dropped."""
        if len(self._partial) <= LONGEST:
            return 0
        self._offset += len(self._partial)
        self._partial, self._torn = b"", True
        return 1


def _digest(file: BinaryIO, size: int) -> str:
    """Tells a file by its first ``size`` bytes."""
    return hashlib.sha256(os.pread(file.fileno(), size, 0)).hexdigest()


def from_system(error: OSError, file: Path) -> KeyturnError:
    """The system's refusal in our words."""
    if isinstance(error, FileNotFoundError):
        return NotFound("follow", str(file), "there is no such file", "Enable a file audit device in the hub")
    if isinstance(error, PermissionError):
        hint = "Let this user's group read it (the audit device's option `mode`), or poll the hub instead"
        return Denied("follow", str(file), "it can't be read", hint)
    return Unavailable("follow", str(file), error.strerror or type(error).__name__, "It is tried again by itself")
