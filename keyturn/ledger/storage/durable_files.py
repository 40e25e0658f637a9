"""Private files that survive a crash whole."""

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700

POLL: Final = 0.01
"""Seconds between attempts to get a lock."""


def make_private_directory(directory: Path) -> None:
    """Make a directory and its parents for this user alone. Raises OSError."""
    if not directory.is_dir():
        make_private_directory(directory.parent)
        directory.mkdir(PRIVATE_DIRECTORY, exist_ok=True)


def sync_directory(directory: Path) -> None:
    """Wait until the names in it are on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_durably(descriptor: int, content: bytes, whole: int) -> int:
    """Append all or nothing after ``whole`` bytes, durably; the new size. Raises OSError."""
    try:
        if os.fstat(descriptor).st_size != whole:
            # Only then: truncating changes a file even where its size stays the same.
            os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, whole)
        raise
    return whole + len(content)


def take_lock(descriptor: int, patience: float) -> None:
    """Lock an open file. Raises TimeoutError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it") from None
        time.sleep(POLL)
