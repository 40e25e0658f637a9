"""A directory of one user's alone, whose files are written whole or not at all."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
PATIENCE: Final = 5.0
"""Seconds that another process is waited for: it needs some milliseconds, unless it is suspended."""
PAUSE: Final = 0.01
DRAFT: Final = ".new"


class PrivateDirectory:
    """Made with mode 0700 where it is missing. Every method raises OSError, and for what others may write to, too."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))
        self._locks: set[int] = set()

    def read(self, name: str, limit: int) -> bytes | None:
        """The whole file, None where there is none; what is longer than ``limit`` is cut behind one byte more."""
        try:
            with self._opened() as directory, os.fdopen(_open(directory, name, os.O_RDONLY), "rb") as file:
                return file.read(limit + 1)
        except FileNotFoundError:
            return None

    def identity(self, name: str) -> tuple[int, int, int] | None:
        """What another file of this name does not share; None where there is none."""
        try:
            status = os.stat(self.path / name, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def replace(self, name: str, content: bytes) -> None:
        """The new file takes the old one's place in one step, once it is on the disk; for the only writer."""
        with self._opened(make=True) as directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name + DRAFT, flags, FILE_MODE, dir_fd=directory)
            try:
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    os.fchmod(descriptor, FILE_MODE)
                    _write(file.fileno(), content)
                os.rename(name + DRAFT, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name + DRAFT, dir_fd=directory)
                raise
            os.fsync(directory)

    def append(self, name: str, content: bytes, whole: int) -> None:
        """Add to a file that is there, behind its first ``whole`` bytes, and wait for the disk: all of it or none."""
        with self._opened() as directory, os.fdopen(_open(directory, name, os.O_RDWR), "r+b", buffering=0) as file:
            try:
                file.truncate(whole)
                file.seek(whole)
                _write(file.fileno(), content)
            except OSError:
                with suppress(OSError):
                    file.truncate(whole)
                raise

    def remove(self, name: str) -> None:
        """Absent is success."""
        with suppress(FileNotFoundError), self._opened() as directory:
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One process and thread at a time. Raises TimeoutError where another keeps it."""
        with self._opened(make=True) as directory:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, FILE_MODE, dir_fd=directory)
            self._locks.add(descriptor)
            try:
                _lock(descriptor)
                yield
            finally:
                # A child that was forked meanwhile has the descriptor, too, and would keep the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                self._locks.discard(descriptor)
                os.close(descriptor)

    def abandon(self) -> None:
        """Let go of locks that were inherited from the process that this one was forked from."""
        for descriptor in self._locks:
            with suppress(OSError):
                os.close(descriptor)
        self._locks = set()

    @contextmanager
    def _opened(self, make: bool = False) -> Iterator[int]:
        if make:
            self.path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _refuse_others(os.fstat(descriptor), 0o077)
            yield descriptor
        finally:
            os.close(descriptor)


def _open(directory: int, name: str, flags: int) -> int:
    """A regular file of this user's alone."""
    # A pipe that nobody writes to would be waited for.
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        _refuse_others(status, 0o177)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_others(status: os.stat_result, unwanted: int) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user than this process")
    if stat.S_IMODE(status.st_mode) & unwanted:
        raise PermissionError(errno.EPERM, "its mode lets others read or write it")


def _lock(descriptor: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it locked") from None
        time.sleep(PAUSE)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)
