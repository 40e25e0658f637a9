"""A log file with its rotations, read line by line in constant memory."""

import bz2
import errno
import gzip
import lzma
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BufferedIOBase
from pathlib import Path
from typing import Final

CHUNK: Final = 1024 * 1024
"""Bytes per read."""

LONGEST: Final = 64 * 1024 * 1024
"""The longest line in bytes. Requests have at most 32 MiB."""

ROTATED: Final = re.compile(r"[.-]\d[\dTZ.:_-]*(?:\.([A-Za-z]\w*))?")
"""Suffixes of logrotate and others: a number or date, and the compression."""

INSIDE: Final = re.compile(r"(-\d{4}-[\dT-]+(?:\.\d+)?)(\.[A-Za-z]+)(\.[A-Za-z]\w*)?")
"""What the Kubernetes API server inserts before the suffix: ``audit-2026-11-24T12-00-00.000.log.gz``."""

OPENERS: Final[Mapping[str, Callable[[Path], BufferedIOBase]]] = {
    "": lambda plain: plain.open("rb"),
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}

BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""Errors of reading a file, including truncated compressed ones."""


SLACK: Final = timedelta(minutes=1)
"""The largest lag of a file system's clock."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Earlier times are from a clock that was never set."""


@dataclass(frozen=True)
class LogFile:
    """One file of a log, and its compression, if any."""

    path: Path
    packing: str = ""

    def opened(self) -> BufferedIOBase:
        """Open its text. Raises OSError."""
        if not stat.S_ISREG(mode := self.path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is no regular file, and is read more than once")
        if self.packing not in OPENERS:
            raise OSError(errno.ENOTSUP, f"it is packed as {self.packing}, which is not read here")
        return OPENERS[self.packing](self.path)

    def changed(self) -> datetime:
        """The time of its last change. Raises OSError."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


def rotations(file: Path) -> list[LogFile]:
    """The file, if it exists, and its rotations by name. Raises OSError."""
    packing = file.suffix[1:] if file.suffix[1:] in OPENERS else ""
    own = [LogFile(file, packing)] if file.exists() else []
    named = [(path, _behind(file, path.name)) for path in file.parent.iterdir()]
    matches = ((path, ROTATED.fullmatch(rest)) for path, rest in sorted(named) if rest)
    return own + [LogFile(path, rest[1] or "") for path, rest in matches if rest]


def _behind(file: Path, name: str) -> str:
    """The rotation's part of a file name, empty for other files."""
    if name.startswith(file.name):
        return name[len(file.name) :]
    dated = INSIDE.fullmatch(name.removeprefix(file.stem)) if file.suffix and name.startswith(file.stem) else None
    return f"{dated[1]}{dated[3] or ''}" if dated and dated[2] == file.suffix else ""


def lines(file: BufferedIOBase, longest: int = LONGEST) -> Iterator[bytes]:
    """Yield every non-empty line without its end. Too long ones are cut, and so invalid. Raises BROKEN."""
    partial, dropping = b"", False
    while chunk := file.read(CHUNK):
        first, *rest = chunk.split(b"\n")
        if not dropping:
            partial += first
        if rest:
            if partial:
                yield partial
            yield from filter(None, rest[:-1])
            partial, dropping = rest[-1], False
        elif len(partial) > longest:
            yield partial[:longest]
            partial, dropping = b"", True
    if partial:
        yield partial


def plausible_start(dated: datetime | None, changed: datetime) -> datetime:
    """When a file begins by its first line, otherwise its last change."""
    return dated if dated and EARLIEST <= dated <= changed + SLACK else changed


def words(error: BaseException) -> str:
    """Why a file could not be read."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or "it is broken"


class NotALine(ValueError):
    """Why something is no line, quoting nothing of it."""
