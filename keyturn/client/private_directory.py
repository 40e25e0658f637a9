"""A directory for one user, with files that are written completely or not at all."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keyturn.core.files import PRIVATE_DIRECTORY, PRIVATE_FILE, open_regular, take_lock, write_all

PATIENCE: Final = 5.0
"""Seconds to wait for another process, which needs milliseconds unless it is suspended."""
DRAFT: Final = ".new"


class OpenDirectory:
    """The files of a private directory that is open at ``descriptor``. Every method raises OSError.

    A directory that replaces it is not used. A foreign or shared file is refused.
    """

    def __init__(self, descriptor: int, patience: float = PATIENCE, locks: set[int] | None = None) -> None:
        self._descriptor = descriptor
        self._patience = patience
        self._locks = set() if locks is None else locks

    def read(self, name: str, limit: int) -> bytes | None:
        """The file, or None without one; cut to ``limit`` plus one byte."""
        try:
            with os.fdopen(_open(self._descriptor, name, os.O_RDONLY), "rb") as file:
                return file.read(limit + 1)
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes, *, lasting: bool = True) -> None:
        """Replace a file in one step, with ``lasting`` after it is on disk. For a single writer."""
        draft, flags = name + DRAFT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, PRIVATE_FILE, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                os.fchmod(descriptor, PRIVATE_FILE)
                _write(file.fileno(), content, lasting=lasting)
            os.rename(draft, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=self._descriptor)
            raise
        if lasting:
            os.fsync(self._descriptor)

    def append(self, name: str, content: bytes, whole: int) -> None:
        """Append after the first ``whole`` bytes, and wait for the disk: all or nothing."""
        with os.fdopen(_open(self._descriptor, name, os.O_RDWR), "r+b", buffering=0) as file:
            try:
                file.truncate(whole)
                file.seek(whole)
                _write(file.fileno(), content)
            except OSError:
                with suppress(OSError):
                    file.truncate(whole)
                raise

    def remove(self, name: str) -> None:
        """Remove a file. A missing file counts as success."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)
            os.fsync(self._descriptor)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock against other processes and threads. Raises TimeoutError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, PRIVATE_FILE, dir_fd=self._descriptor)
        self._locks.add(descriptor)
        try:
            take_lock(descriptor, self._patience)
            yield
        finally:
            # A child that was forked meanwhile has the descriptor too, and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._locks.discard(descriptor)
            os.close(descriptor)


class PrivateDirectory:
    """The directory at ``path`` at each call, created with mode 0700 for a write.

    The methods are those of :class:`OpenDirectory`, and refuse a directory that others may use.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))
        self._locks: set[int] = set()

    def read(self, name: str, limit: int) -> bytes | None:
        """See :meth:`OpenDirectory.read`."""
        try:
            with self._opened() as directory:
                return directory.read(name, limit)
        except FileNotFoundError:
            return None

    def identity(self, name: str) -> tuple[int, int, int] | None:
        """A value that distinguishes this file from others of the name; None without a file."""
        try:
            status = os.stat(self.path / name, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def replace(self, name: str, content: bytes) -> None:
        """See :meth:`OpenDirectory.replace`."""
        with self._opened(make=True) as directory:
            directory.replace(name, content)

    def append(self, name: str, content: bytes, whole: int) -> None:
        """See :meth:`OpenDirectory.append`."""
        with self._opened() as directory:
            directory.append(name, content, whole)

    def remove(self, name: str) -> None:
        """See :meth:`OpenDirectory.remove`."""
        with suppress(FileNotFoundError), self._opened() as directory:
            directory.remove(name)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """See :meth:`OpenDirectory.locked`."""
        with self._opened(make=True) as directory, directory.locked(name):
            yield

    def abandon(self) -> None:
        """Close the locks that a fork inherited from its parent."""
        for descriptor in self._locks:
            with suppress(OSError):
                os.close(descriptor)
        self._locks = set()

    @contextmanager
    def _opened(self, make: bool = False) -> Iterator[OpenDirectory]:
        if make:
            self.path.mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        descriptor = open_private(self.path)
        try:
            yield OpenDirectory(descriptor, locks=self._locks)
        finally:
            os.close(descriptor)


def open_private(path: Path) -> int:
    """Open a directory for this user only. Raises OSError; PermissionError for a foreign or shared one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _refuse_others(os.fstat(descriptor), 0o077)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(directory: int, name: str, flags: int) -> int:
    """Open a regular file for this user only."""
    descriptor = open_regular(name, flags, directory)
    try:
        _refuse_others(os.fstat(descriptor), 0o177)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_others(status: os.stat_result, unwanted: int) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user than this process")
    if stat.S_IMODE(status.st_mode) & unwanted:
        raise PermissionError(errno.EPERM, "its mode lets others read or write it")


def _write(descriptor: int, content: bytes, *, lasting: bool = True) -> None:
    write_all(descriptor, content)
    if lasting:
        os.fsync(descriptor)
