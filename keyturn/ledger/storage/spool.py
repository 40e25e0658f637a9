"""A ledger that never blocks: rejected entries wait in the hub, else in a file.

A line of canonical text per entry is on the disk before ``append`` returns. One process at a time locks the file
(flock). No entry is appended twice.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from keyturn.core.errors import Invalid, KeyturnError, Unrecorded
from keyturn.core.files import PRIVATE_FILE, append_durably, make_private_directory, take_lock
from keyturn.core.ports.hub import StatePort
from keyturn.core.ports.ledger import Entry, NewestVersion
from keyturn.ledger.entries import encode, parse_tail
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.storage.waiting import keep_in_hub, record_waiting

PAUSE: Final = 5.0
"""Seconds without attempts after the ledger refused."""

PATIENCE: Final = 5.0
"""Seconds to wait for another process's lock on the file."""

AT_ONCE: Final = 256
"""Entries per append."""

MARK: Final = b'{"appending_after":'
"""The prefix of marker lines by earlier versions."""

Lost = Callable[[Sequence[Entry], str], None]
"""Called with entries that could not be written anywhere, and the reason."""


class Spooled:
    """A :class:`keyturn.core.ports.ledger.Ledger` whose ``append`` never raises Unrecorded.

    It creates ``file`` with mode 0600. Waiting entries go first. ``lost`` gets entries that could not be written
    anywhere.
    """

    def __init__(
        self,
        ledger: StoredLedger,
        file: Path,
        lost: Lost,
        hub: StatePort | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._file = file
        self._lost = lost
        self._hub = hub
        self._monotonic = monotonic
        self._not_before = 0.0
        self._waits_in_hub = False
        """Whether entries of this process wait in the hub."""

    def append(self, entries: Sequence[Entry]) -> int | str | None:
        """Write these to the ledger after waiting ones, or set them aside."""
        try:
            return self._to_ledger(entries)
        except KeyturnError as error:
            self._set_aside(entries, error)
            return None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write the entries that the ledger lacks. Raises Unrecorded."""
        return self._ledger.append_missing(entries)

    @property
    def waits(self) -> bool:
        """Whether entries of this process wait for the ledger."""
        return self._waits_in_hub or self._size() > 0

    def why_refused(self) -> str:
        """Why the ledger rejects entries now; empty where it accepts them."""
        try:
            self._ledger.try_writing()
        except KeyturnError as error:
            self._not_before = self._monotonic() + PAUSE
            return str(error)
        return ""

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """The ledger's answer, without waiting entries. Raises Unavailable."""
        return self._ledger.newest_versions(secrets)

    def drain(self) -> int:
        """Append the waiting entries to the ledger; their number. Raises where that fails."""
        in_hub = record_waiting(self._hub, self._ledger) if self._hub else 0
        self._waits_in_hub = False
        return in_hub + self._drain_file()

    def _drain_file(self) -> int:
        if not self._size():
            return 0
        try:
            with self._locked("r+b") as file:
                return self._drain(file)
        except OSError as error:
            raise Unrecorded("read", f"the spool {self._file}", _reason(error), "Check its owner and mode") from None

    def waiting(self) -> int:
        """The number of entries in the file. Raises OSError where it can't be read."""
        if not self._size():
            return 0
        return sum(not _is_mark(line) for line in self._file.read_bytes().splitlines())

    def close(self) -> None:
        """Close the ledger. Waiting entries stay in the file."""
        self._ledger.close()

    def _to_ledger(self, entries: Sequence[Entry]) -> int | str | None:
        if self._monotonic() < self._not_before:
            raise Unrecorded("write", "the ledger", "it refused a moment ago", "It is tried again soon")
        try:
            if self._waits_in_hub:
                self.drain()
            self._drain_file()
            return self._ledger.append(entries)
        except KeyturnError:
            self._not_before = self._monotonic() + PAUSE
            raise

    def _set_aside(self, entries: Sequence[Entry], why: KeyturnError) -> None:
        """Store these in the hub, visible to all processes, else in the file."""
        try:
            if self._hub:
                keep_in_hub(self._hub, entries)
                self._waits_in_hub = True
                return
        except KeyturnError as error:
            why = error
        self._to_file(entries, why)

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
        waiting, torn = _parted(file.read())
        appended = 0
        for begun in range(0, len(waiting), AT_ONCE):
            appended += self._ledger.append_missing([parse_tail(tail) for tail in waiting[begun : begun + AT_ONCE]])
        _empty(file)
        if torn:
            self._lost([], f"{torn} lines of the spool {self._file} were torn when a process ended, and are left out")
        return appended

    def _size(self) -> int:
        """Bytes of the file; 0 where it is missing or unreadable."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def _locked(self, mode: str) -> Iterator[IO[bytes]]:
        """The file, opened and locked. Raises OSError."""
        with _opened(self._file, mode) as file:
            take_lock(file.fileno(), PATIENCE)
            yield file


def _opened(path: Path, mode: str) -> IO[bytes]:
    if not path.exists():
        make_private_directory(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_APPEND if "a" in mode else 0)
    return os.fdopen(os.open(path, flags, PRIVATE_FILE), mode, buffering=0)


def _append(file: IO[bytes], lines: bytes) -> None:
    """Append all lines durably or none. Raises OSError."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        # A line that a crash truncated stays a separate line.
        lines = lines if file.read(1) == b"\n" else b"\n" + lines
    append_durably(file.fileno(), lines, size)


def _empty(file: IO[bytes]) -> None:
    file.truncate(0)
    os.fsync(file.fileno())


def _parted(content: bytes) -> tuple[list[bytes], int]:
    """The waiting tails, and the number of unreadable lines."""
    lines = [line for line in content.splitlines() if line and not _is_mark(line)]
    waiting = [line[1:] for line in lines if line.startswith(b"{") and _readable(line[1:])]
    return waiting, len(lines) - len(waiting)


def _is_mark(line: bytes) -> bool:
    return line.startswith(MARK) and line[len(MARK) : -1].isdigit()


def _readable(tail: bytes) -> bool:
    try:
        parse_tail(tail)
    except Invalid:
        return False
    return True


def _reason(error: OSError) -> str:
    return error.strerror or "the system refuses it"
