"""Files below an open directory, written whole or not at all, by one writer at a time, through no symbolic link."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from keyturn.core.sensitive import Sensitive

PRIVATE: Final = 0o600


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
    """The draft of a file, empty and locked: one writer at a time. What a killed writer left is used again."""
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
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(name, flags, PRIVATE, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # While it waited, another writer may have made the draft the file itself.
            if _is_still(directory, name, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


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
