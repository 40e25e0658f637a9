"""Files below an open directory, written whole or not at all, by one writer at a time, through no symbolic link."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keyturn.core.sensitive import Sensitive

PRIVATE: Final = 0o600
PATIENCE: Final = 10.0
"""Seconds that another writer of the same file is waited for: a write takes some milliseconds."""
PAUSE: Final = 0.02
LOCKS: Final = Path("/proc/locks")
"""Where Linux tells who holds which lock (source: proc_locks(5))."""


class StillHeld(OSError):
    """Another writer holds a file for longer than a write takes; ``holder`` says who, in words."""

    def __init__(self, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, "another writer holds it")
        self.holder = holder


def draft_name(remote: str) -> str:
    """Where a file is written before it takes its place."""
    return f".{remote}.keyturn.new"


def identity(status: os.stat_result) -> dict[str, int]:
    """What another file, or another writing of the same one, does not share."""
    return {"inode": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def content(directory: int, name: str) -> tuple[Sensitive, os.stat_result]:
    """The text of a regular file, and what it was when it was read."""
    # A pipe that nobody writes to would be waited for.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ELOOP, "no regular file")
        return Sensitive(file.read().decode()), status


@contextmanager
def only_writer(directory: int, remote: str) -> Iterator[int]:
    """The draft of a file, empty and locked: one writer at a time. What a killed writer left is used again.

    Raises StillHeld where another one holds it for too long: it may be suspended.
    """
    name = draft_name(remote)
    with _locked(directory, name) as descriptor:
        try:
            os.fchmod(descriptor, PRIVATE)
            os.ftruncate(descriptor, 0)
            yield descriptor
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise


@contextmanager
def _locked(directory: int, name: str) -> Iterator[int]:
    until = time.monotonic() + PATIENCE
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(name, flags, PRIVATE, dir_fd=directory)
        try:
            _lock(descriptor, until)
            # While it waited, another writer may have made the draft the file itself.
            if _is_still(directory, name, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, until: float) -> None:
    """Wait for the lock until then, by the monotonic clock. Raises StillHeld."""
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise StillHeld(_holder(os.fstat(descriptor).st_ino)) from None
        time.sleep(PAUSE)


def _holder(inode: int) -> str:
    """Who holds the lock of a file, by its number: the process, its program, and whether it is suspended."""
    try:
        pid = next(iter(re.findall(rf"FLOCK +\S+ +WRITE +(\d+) \S+:{inode} ", LOCKS.read_text())), "0")
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (OSError, ValueError):
        return "a process that the system does not tell"
    return f"process {pid} ({status['Name']}), which is {status['State'].partition('(')[2].rstrip(')')}"


def _is_still(directory: int, name: str, descriptor: int) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor))


def fill_draft(descriptor: int, text: Sensitive) -> dict[str, int]:
    """Write the draft to the disk; what the file will be known by."""
    _write_all(descriptor, text.reveal().encode())
    # Finer than the kernel's own clock, so that a change within the same tick shows too.
    now = time.time_ns()
    os.utime(descriptor, ns=(now, now))
    os.fsync(descriptor)
    return identity(os.fstat(descriptor))


def replace(directory: int, name: str, text: str) -> None:
    """Put ``text`` there whole or not at all; for the only writer, who uses again what a killed one left."""
    fresh = f"{name}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE, dir_fd=directory)
    try:
        _write_all(descriptor, text.encode())
        os.fsync(descriptor)
        os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(fresh, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
