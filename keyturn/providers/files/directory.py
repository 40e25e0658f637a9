"""Files in an open directory, written atomically by one writer at a time, without following symbolic links."""

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
PATIENCE: Final = 10.0  # seconds
PAUSE: Final = 0.02  # seconds
LOCKS: Final = Path("/proc/locks")
"""Where Linux lists lock holders (source: proc_locks(5))."""


class StillHeld(OSError):
    """Another writer holds a file for longer than a write takes; ``holder`` describes it."""

    def __init__(self, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, "another writer holds it")
        self.holder = holder


def draft_name(remote: str) -> str:
    return f".{remote}.keyturn.new"


def identity(status: os.stat_result) -> dict[str, int]:
    return {"inode": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def content(directory: int, name: str) -> tuple[Sensitive, os.stat_result]:
    # Without O_NONBLOCK a pipe would block.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ELOOP, "no regular file")
        return Sensitive(file.read().decode()), status


@contextmanager
def only_writer(directory: int, remote: str) -> Iterator[int]:
    """The draft of a file, empty and locked for one writer. Raises StillHeld if another holds it for too long."""
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
            # Another writer may have renamed the draft meanwhile.
            if _is_still(directory, name, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, until: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise StillHeld(_holder(os.fstat(descriptor).st_ino)) from None
        time.sleep(PAUSE)


def _holder(inode: int) -> str:
    try:
        pid = next(iter(re.findall(rf"FLOCK +\S+ +WRITE +(\d+) \S+:{inode} ", LOCKS.read_text())), "0")
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (OSError, ValueError):
        return "an unknown process"
    return f"process {pid} ({status['Name']}), which is {status['State'].partition('(')[2].rstrip(')')}"


def _is_still(directory: int, name: str, descriptor: int) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor))


def fill_draft(descriptor: int, text: Sensitive) -> dict[str, int]:
    _write_all(descriptor, text.reveal().encode())
    # Finer than the kernel's clock, so that changes within one tick show.
    now = time.time_ns()
    os.utime(descriptor, ns=(now, now))
    os.fsync(descriptor)
    return identity(os.fstat(descriptor))


def replace(directory: int, name: str, text: str) -> None:
    """Write ``text`` atomically. Only for the sole writer."""
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
