"""Private files that survive a crash, and locks between processes. Every function raises OSError."""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700

POLL: Final = 0.01
"""Seconds between attempts to get a lock."""


def make_private_directory(directory: Path) -> None:
    """Make a directory and its parents, readable by this user only."""
    if not directory.is_dir():
        make_private_directory(directory.parent)
        directory.mkdir(PRIVATE_DIRECTORY, exist_ok=True)


def sync_directory(directory: Path) -> None:
    """Wait until the names in it are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path | str, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> int:
    """Open an existing regular file, without following a link. The caller closes the descriptor."""
    # Without O_NONBLOCK, opening a pipe without a writer would block.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file")


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, also if the system takes it in pieces."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def append_durably(descriptor: int, content: bytes, whole: int) -> int:
    """Append all or nothing after ``whole`` bytes, durably, and return the new size."""
    try:
        if os.fstat(descriptor).st_size != whole:
            # Only then: truncating changes a file even where its size stays the same.
            os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        write_all(descriptor, content)
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, whole)
        raise
    return whole + len(content)


def take_lock(descriptor: int, patience: float) -> None:
    """Lock an open file against other processes. Raises TimeoutError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it") from None
        time.sleep(POLL)
