"""Stores received lines on disk before they are confirmed, until they are read.

Cursors use the private directory's random name, so that it can be moved. Processes of one machine may share it.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import json

from keyturn.access_log.log_files import rotations
from keyturn.access_log.sources.file_cursor import FileCursor
from keyturn.access_log.sources.log_text import survey
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.files import PRIVATE_FILE, append_durably, make_private_directory, sync_directory

CURRENT: Final = "received.log"
LOCK: Final = "lock"
NAME: Final = "name"
NEXT: Final = "next"
"""The temporary name of the next file."""

PART: Final = 64 * 1024 * 1024
"""Bytes of a file after which the next one begins."""

LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of all files, beyond which lines are refused."""

CHUNK: Final = 1024 * 1024

END: Final = b"\n"

MARKED: Final = b'{"keyturn":'
"""The beginning of the spool's own lines, for gaps."""

HINT: Final = "Let its reader catch up (`keyturn serve`), or free space on the disk"


class LineSpool:
    """The lines in ``directory``, created on first use. Methods raise Unavailable."""

    def __init__(self, directory: Path, limit: int = LIMIT, part: int = PART) -> None:
        self.directory = directory
        self.current = directory / CURRENT
        self._limit = limit
        self._part = part

    @property
    def name(self) -> str:
        """The spool's unique name: eight hex digits. Raises Unavailable, Invalid."""
        with self._told("open"), self._locked():
            path = self.directory / NAME
            if not path.exists():
                new = path.with_name(f"{NAME}.new")
                with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE), "w") as out:
                    out.write(secrets.token_hex(4))
                    out.flush()
                    os.fsync(out.fileno())
                new.replace(path)
                sync_directory(self.directory)
            name = path.read_text().strip()
        if len(name) != 8 or set(name) - set("0123456789abcdef"):
            raise Invalid("read", str(path), "it does not name a spool: it was edited by hand", "Bring it back")
        return name

    @contextmanager
    def turn(self) -> Iterator["SpoolTurn"]:
        """Write exclusively."""
        with self._told("write to"), self._locked():
            descriptor = os.open(self.current, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
            try:
                yield SpoolTurn(self, descriptor, self._limit)
                if os.fstat(descriptor).st_size >= self._part:
                    self._begin_next()
            finally:
                os.close(descriptor)

    def append(self, lines: Sequence[bytes]) -> None:
        """Store these lines durably. None may contain a line feed."""
        with self.turn() as turn:
            turn.append(lines)

    def release(self, cursor: str) -> None:
        """Delete the files that the reader's cursor has as finished."""
        finished = set(FileCursor.parse(str(self.directory), cursor).finished) if cursor else set()
        with self._told("clear"), self._locked():
            for sighted in survey(self.current, lambda _: None).files:
                if sighted.head in finished and not sighted.live:
                    sighted.file.path.unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all its files. Raises OSError."""
        return sum(file.path.stat().st_size for file in rotations(self.current))

    def recent(self, seconds: float) -> Iterator[bytes]:
        """Yield the lines of recently written files, oldest first. Raises OSError."""
        files = sorted(rotations(self.current), key=lambda file: (file.path == self.current, file.path.name))
        for file in files:
            with suppress(FileNotFoundError), file.opened() as text:
                if file.changed().timestamp() >= time.time() - seconds:
                    yield from text

    def _begin_next(self) -> None:
        """Number the full file. The current name always exists."""
        numbers = [int(suffix) for file in rotations(self.current) if (suffix := file.path.suffix[1:]).isdigit()]
        empty = self.directory / NEXT
        os.close(os.open(empty, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE))
        os.link(self.current, self.current.with_name(f"{CURRENT}.{max(numbers, default=0) + 1:09}"))
        empty.replace(self.current)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_private_directory(self.directory)
        descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(doing, str(self.directory), error.strerror or type(error).__name__, HINT) from None


class SpoolTurn:
    """Exclusive access of one process to a spool."""

    def __init__(self, spool: LineSpool, descriptor: int, limit: int) -> None:
        self._spool = spool
        self._descriptor = descriptor
        self._limit = limit

    @property
    def place(self) -> tuple[int, int]:
        """The inode and size of the current file."""
        status = os.fstat(self._descriptor)
        return status.st_ino, status.st_size

    def since(self, offset: int) -> Iterator[bytes]:
        """Yield the complete lines of that file from an offset."""
        partial = b""
        while chunk := os.pread(self._descriptor, CHUNK, offset):
            *lines, partial = (partial + chunk).split(END)
            offset += len(chunk)
            yield from lines

    def append(self, lines: Sequence[bytes]) -> None:
        """Store all of these lines or none. Raises OSError, Unavailable."""
        size = os.fstat(self._descriptor).st_size
        # A torn line of a killed process was never confirmed.
        torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != END
        content = (END if torn else b"") + b"".join(line + END for line in lines)
        if self._spool.size() + len(content) > self._limit:
            problem = f"it holds {self._limit // 2**20:,} MiB that were not read yet"
            raise Unavailable("write to", str(self._spool.directory), problem, HINT)
        if not size:
            sync_directory(self._spool.directory)
        append_durably(self._descriptor, content, size)

    def mark(self, since: datetime, until: datetime) -> None:
        """Record that lines between these times were not received."""
        times = [moment.isoformat(timespec="seconds") for moment in (since, until)]
        self.append([json.encode({"keyturn": "gap", "since": times[0], "until": times[1]})])


def gap_of(line: bytes) -> str:
    """Describe one of the spool's own lines. Raises ValueError."""
    members = json.decode(line, type=dict[str, str])
    since, until = (datetime.fromisoformat(members.get(name, "")) for name in ("since", "until"))
    return f"whatever came from {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC was not taken"
