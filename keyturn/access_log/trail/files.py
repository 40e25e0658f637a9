"""The trail's paths, and atomic durable writing of its files."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from keyturn.core.errors import Locked, Unavailable
from keyturn.core.files import (
    PRIVATE_FILE,
    append_durably,
    make_private_directory,
    sync_directory,
    take_lock,
)

PATIENCE: Final = 30.0
"""Seconds of waiting for another process."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class TrailFiles:
    """The paths below the trail's directory, except for those of :mod:`keyturn.access_log.trail.layout`.

    ``heads`` has a line per sealed segment, ``spool`` unsealed events, ``aside`` the beginnings of unreadable lines.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.identity = directory / "trail.json"

    def spool(self, source: str) -> Path:
        """The open segment of a source."""
        return self.directory / "spool" / f"{file_name(source)}.jsonl"

    def spools(self) -> list[Path]:
        """All open segments."""
        return sorted((self.directory / "spool").glob("*.jsonl"))

    def lock(self, source: str) -> Path:
        """The lock of a source's writer."""
        return self.directory / "spool" / f"{file_name(source)}.lock"

    def heads(self, source: str) -> Path:
        """The heads of a source's segments."""
        return self.directory / "heads" / f"{file_name(source)}.jsonl"

    def all_heads(self) -> list[Path]:
        """The heads of all sources."""
        return sorted((self.directory / "heads").glob("*.jsonl"))

    def aside(self, source: str) -> Path:
        """The unreadable lines of a source."""
        return self.directory / "aside" / f"{file_name(source)}.jsonl"


def file_name(source: str) -> str:
    """A source's file name."""
    return quote(source, safe="")


@contextmanager
def telling(doing: str, path: Path) -> Iterator[None]:
    """Report OSError in the trail's words. Raises Unavailable."""
    try:
        yield
    except OSError as error:
        raise from_os(error, doing, path) from None


def from_os(error: OSError, doing: str, path: Path) -> Unavailable:
    """Describe an operating system error."""
    problem = (error.strerror or "the system refuses it").lower()
    if error.errno in FULL:
        hint = "Free space on its disk: nothing is lost, and it continues by itself"
    else:
        hint = "Check owner and mode of its directory"
    return Unavailable(doing, f"the access trail {path}", problem, hint)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock. Raises OSError, Locked."""
    make_private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        try:
            take_lock(descriptor, PATIENCE)
        except TimeoutError:
            hint = "End one of them: a source is written by one process at a time"
            raise Locked("write", f"the access trail {path}", "another process keeps it", hint) from None
        yield
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically. Raises OSError."""
    make_private_directory(path.parent)
    draft = path.with_name(f"{path.name}.new")
    try:
        with opened(draft, os.O_TRUNC) as file:
            append_durably(file.fileno(), content, 0)
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    sync_directory(path.parent)


def opened(path: Path, flags: int = 0) -> IO[bytes]:
    """Open or create a file, without following links. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, PRIVATE_FILE)
    return os.fdopen(descriptor, "r+b", buffering=0)
