"""A ledger that holds nothing up: what can't be written to it waits in the hub, else in a file, and is appended later.

The file has a line for each entry that waits, in canonical text. One process at a time has the file (flock), and a line
is on the disk before ``append`` returns. What an attempt that was interrupted has appended is not appended again.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from keyturn.core.errors import Invalid, KeyturnError, Unrecorded
from keyturn.core.ports.hub import StatePort
from keyturn.core.ports.ledger import Entry, NewestVersion
from keyturn.ledger.entries import encode, parse_tail
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.storage.durable_files import PRIVATE_FILE, append_durably, make_private_directory, take_lock
from keyturn.ledger.storage.waiting import keep_in_hub, record_waiting

PAUSE: Final = 5.0
"""Seconds in which the ledger is not tried again after it refused."""

PATIENCE: Final = 5.0
"""Seconds that another process may have the file."""

AT_ONCE: Final = 256
"""Entries that are appended in one go."""

MARK: Final = b'{"appending_after":'
"""How a line begins that earlier versions wrote before they appended."""

Lost = Callable[[Sequence[Entry], str], None]
"""Told of entries that could be written nowhere, and why."""


class Spooled:
    """A :class:`keyturn.core.ports.ledger.Ledger` in front of ``ledger``, whose ``append`` raises no Unrecorded.

    ``file`` is made where it is missing (0600). What waits there goes first, so that the order stays. Without a ``hub``
    nothing waits there. ``lost`` is called with what could be written nowhere.
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
        """Whether something of this process waits there."""

    def append(self, entries: Sequence[Entry]) -> int | str | None:
        """Write these to the ledger, after those that wait; where it can't be written, to the file."""
        try:
            return self._to_ledger(entries)
        except KeyturnError as error:
            self._set_aside(entries, error)
            return None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        """Write those of these that the ledger has not got. Raises Unrecorded."""
        return self._ledger.append_missing(entries)

    @property
    def waits(self) -> bool:
        """Whether something of this process waits for the ledger."""
        return self._waits_in_hub or self._size() > 0

    def why_refused(self) -> str:
        """Why the ledger takes nothing at the moment; empty where it does. Nothing is written."""
        try:
            self._ledger.try_writing()
        except KeyturnError as error:
            self._not_before = self._monotonic() + PAUSE
            return str(error)
        return ""

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """What the ledger tells; what waits in the file is not looked at. Raises Unavailable."""
        return self._ledger.newest_versions(secrets)

    def drain(self) -> int:
        """Append what waits to the ledger, and return how many entries that were. Raises where it can't be done."""
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
        """How many entries the file holds. Raises OSError where it can't be read."""
        if not self._size():
            return 0
        return sum(not _is_mark(line) for line in self._file.read_bytes().splitlines())

    def close(self) -> None:
        """Let go of the ledger; what waits stays in the file."""
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
        """Let these wait in the hub, where every process finds them; where it takes nothing, in the file."""
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


def _parted(content: bytes) -> tuple[list[bytes], int]:
    """Tails that wait, and how many lines can't be read."""
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
