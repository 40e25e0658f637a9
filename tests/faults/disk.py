"""A disk that can be filled, and given room again, under a server that runs."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from local.openbao import OpenBao
from tests.support import warden

SIZE = "48m"
BLOCK = b"x" * 65_536
LITTLE = 1024
"""Bytes: every file that the server adds to is longer."""


class Disk:
    """A file system of its own under ``directory`` where this process may mount one, so that it can really be full.

    Elsewhere, and always besides, the server's files can be kept from growing: the same calls fail.
    """

    def __init__(self, directory: Path, size: str = SIZE) -> None:
        self.directory = directory
        self._size = size
        self._filler = directory / "filler"
        self.mounted = False

    def __enter__(self) -> "Disk":
        options, source = f"size={self._size},mode=700", os.environ.get(warden.MARK, "tmpfs")
        mount = ["mount", "-t", "tmpfs", "-o", options, source, str(self.directory)]
        with suppress(FileNotFoundError):
            self.mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)

    def fill(self) -> None:
        """Leave no byte of room."""
        for block in (BLOCK, b"x"):
            with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
                while filler.write(block):
                    pass

    def free(self) -> None:
        """Give all of it back. Never filled is success."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def growing_may_fail() -> Iterator[None]:
    """Start processes that go on when a file may not grow: the write fails, as on a full disk, and no signal comes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGXFSZ})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def forbid_growing(server: OpenBao) -> None:
    """Let every write of the running server fail that would make a file longer."""
    limit(server, LITTLE)


def allow_growing(server: OpenBao) -> None:
    """Let it write again. Never forbidden, or not running, is success."""
    limit(server, resource.RLIM_INFINITY)


def limit(server: OpenBao, size: int) -> None:
    """The most that a file of the running server may hold, in bytes."""
    if (pid := server.process.pid) is not None:
        limit_process(pid, size)


def limit_process(pid: int, size: int) -> None:
    """The most that a file which a process writes may hold; the hard limit stays, so that all may raise it."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size != resource.RLIM_INFINITY else hard, hard))
