"""A ledger that holds nobody up: what can't be written to it waits in a file, and is appended later.

The file has a line for each entry that waits, in canonical text. Before the first of them is appended a mark is written
below them with the ledger's size: whatever of them stands in the ledger after that was appended by an attempt that was
interrupted, and is not appended again. One process at a time has the file (flock), and a line is on the disk before
``append`` returns.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from keyturn.core.errors import Invalid, KeyturnError, Unrecorded
from keyturn.core.ledger import Entry, NewestVersion
from keyturn.ledger.durable_files import PRIVATE_FILE, append_durably, make_private_directory, take_lock
from keyturn.ledger.entries import encode, leaf_of, parse_leaf
from keyturn.ledger.ports import StoredLedger

PAUSE: Final = 5.0
"""Seconds in which the ledger is not tried again after it refused."""

PATIENCE: Final = 5.0
"""Seconds that another process may have the file."""

AT_ONCE: Final = 256
"""Entries that are appended in one go."""

MARK: Final = b'{"appending_after":'
"""How the line begins that tells the ledger's size."""

Lost = Callable[[Sequence[Entry], str], None]
"""Told of entries that could be written nowhere, and why."""


class Spooled:
    """A :class:`keyturn.core.ledger.Ledger` in front of ``ledger``, whose ``append`` raises no Unrecorded.

    ``file`` is made where it is missing (0600). What waits there goes first, so that the order stays. ``lost`` is told
    what neither took.
    """

    def __init__(
        self, ledger: StoredLedger, file: Path, lost: Lost, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._file = file
        self._lost = lost
        self._monotonic = monotonic
        self._not_before = 0.0

    def append(self, entries: Sequence[Entry]) -> int | str | None:
        """Write these to the ledger, after those that wait; where it can't be written, to the file."""
        try:
            return self._to_ledger(entries)
        except KeyturnError as error:
            self._to_file(entries, error)
            return None

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """What the ledger tells; what waits in the file is not looked at. Raises Unavailable."""
        return self._ledger.newest_versions(secrets)

    def drain(self) -> int:
        """Append what waits to the ledger, and return how many entries that were. Raises where it can't be done."""
        if not self._size():
            return 0
        try:
            with self._locked("r+b") as file:
                return self._drain(file)
        except OSError as error:
            raise Unrecorded("read", f"the spool {self._file}", _reason(error), "Check its owner and mode") from None

    def waiting(self) -> int:
        """How many entries the file holds. Raises OSError where it can't be read."""
        if not self._size():
            return 0
        return sum(not line.startswith(MARK) for line in self._file.read_bytes().splitlines())

    def close(self) -> None:
        """Let go of the ledger; what waits stays in the file."""
        self._ledger.close()

    def _to_ledger(self, entries: Sequence[Entry]) -> int | str | None:
        if self._monotonic() < self._not_before:
            raise Unrecorded("write", "the ledger", "it refused a moment ago", "It is tried again soon")
        try:
            self.drain()
            return self._ledger.append(entries)
        except KeyturnError:
            self._not_before = self._monotonic() + PAUSE
            raise

    def _to_file(self, entries: Sequence[Entry], why: KeyturnError) -> None:
        try:
            lines = "".join(f"{{{encode(entry)}\n" for entry in entries).encode()
            with self._locked("a+b") as file:
                _append(file, lines)
        except KeyturnError as error:
            self._lost(entries, str(error))
        except OSError as error:
            self._lost(entries, f"{why}. The spool {self._file} can't be written either: {_reason(error)}")

    def _drain(self, file: IO[bytes]) -> int:
        waiting, mark, torn = _parted(file.read())
        if mark is None:
            mark = self._ledger.size()
            _append(file, MARK + b"%d}\n" % mark)
            left = waiting
        else:
            left = self._not_in_ledger(waiting, mark)
        for begun in range(0, len(left), AT_ONCE):
            self._ledger.append([_entry(tail) for tail in left[begun : begun + AT_ONCE]])
        _empty(file)
        if torn:
            self._lost([], f"{torn} lines of the spool {self._file} were torn when a process ended, and are left out")
        return len(left)

    def _not_in_ledger(self, waiting: Sequence[bytes], mark: int) -> list[bytes]:
        """Those that no attempt has appended since the ledger had ``mark`` entries."""
        there = Counter(tail for _, tail in self._ledger.tails(mark + 1))
        left = []
        for tail in waiting:
            if there[tail]:
                there[tail] -= 1
            else:
                left.append(tail)
        return left

    def _size(self) -> int:
        """Bytes of the file; 0 where there is none, or nobody may look."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def _locked(self, mode: str) -> Iterator[IO[bytes]]:
        """The file, open, and no other process's meanwhile. Raises OSError."""
        with _opened(self._file, mode) as file:
            take_lock(file.fileno(), PATIENCE)
            yield file


def _opened(path: Path, mode: str) -> IO[bytes]:
    if not path.exists():
        make_private_directory(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_APPEND if "a" in mode else 0)
    return os.fdopen(os.open(path, flags, PRIVATE_FILE), mode, buffering=0)


def _append(file: IO[bytes], lines: bytes) -> None:
    """Add whole lines, and wait for the disk; all of them or none. Raises OSError."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        # What a crash has torn is a line of its own.
        lines = lines if file.read(1) == b"\n" else b"\n" + lines
    append_durably(file.fileno(), lines, size)


def _empty(file: IO[bytes]) -> None:
    file.truncate(0)
    os.fsync(file.fileno())


def _parted(content: bytes) -> tuple[list[bytes], int | None, int]:
    """Tails that wait, the ledger's size at the first mark, None without one, and how many lines can't be read."""
    waiting, marks, torn = [], [], 0
    for line in content.splitlines():
        if line.startswith(MARK) and line[len(MARK) : -1].isdigit():
            marks.append(int(line[len(MARK) : -1]))
        elif line.startswith(b"{") and _readable(line[1:]):
            waiting.append(line[1:])
        elif line:
            torn += 1
    return waiting, marks[0] if marks else None, torn


def _readable(tail: bytes) -> bool:
    try:
        _entry(tail)
    except Invalid:
        return False
    return True


def _entry(tail: bytes) -> Entry:
    # Any number will do: it has none yet.
    return parse_leaf(leaf_of(1, tail)).entry


def _reason(error: OSError) -> str:
    return error.strerror or "the system refuses it"
