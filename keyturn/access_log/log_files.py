"""A log file and what it was before it was rotated: which files there are, and their lines in flat memory."""

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
"""Bytes read at once."""

LONGEST: Final = 64 * 1024 * 1024
"""Bytes of one line, above which it is no audit line: the hub takes requests of 32 MiB at most."""

ROTATED: Final = re.compile(r"[.-]\d[\dTZ.:_-]*(?:\.([A-Za-z]\w*))?")
"""What logrotate and its like put behind a file's name: a number or a date, and how it was packed."""

INSIDE: Final = re.compile(r"(-\d{4}-[\dT-]+(?:\.\d+)?)(\.[A-Za-z]+)(\.[A-Za-z]\w*)?")
"""What the API server of Kubernetes puts before a file's ending: ``audit-2026-11-24T12-00-00.000.log.gz``."""

OPENERS: Final[Mapping[str, Callable[[Path], BufferedIOBase]]] = {
    "": lambda plain: plain.open("rb"),
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}

BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a file may raise, one that was packed and breaks off included."""


SLACK: Final = timedelta(minutes=1)
"""How far a file system's clock may be behind that of whoever writes the log."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before this nothing was logged: a clock that says so was never set."""


@dataclass(frozen=True)
class LogFile:
    """One file of a log, and how it is packed: "" for plain text."""

    path: Path
    packing: str = ""

    def opened(self) -> BufferedIOBase:
        """Its text. Raises OSError."""
        if not stat.S_ISREG(mode := self.path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is no regular file, and is read more than once")
        if self.packing not in OPENERS:
            raise OSError(errno.ENOTSUP, f"it is packed as {self.packing}, which is not read here")
        return OPENERS[self.packing](self.path)

    def changed(self) -> datetime:
        """When it was last written to. Raises OSError."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


def rotations(file: Path) -> list[LogFile]:
    """The file, where it is there, and its rotated siblings, by name. Raises OSError.

    One that is named itself may be packed, too.
    """
    packing = file.suffix[1:] if file.suffix[1:] in OPENERS else ""
    own = [LogFile(file, packing)] if file.exists() else []
    named = [(path, _behind(file, path.name)) for path in file.parent.iterdir()]
    matches = ((path, ROTATED.fullmatch(rest)) for path, rest in sorted(named) if rest)
    return own + [LogFile(path, rest[1] or "") for path, rest in matches if rest]


def _behind(file: Path, name: str) -> str:
    """What rotation has put behind a file's name, or before its ending; empty where it is no rotated one of it."""
    if name.startswith(file.name):
        return name[len(file.name) :]
    dated = INSIDE.fullmatch(name.removeprefix(file.stem)) if file.suffix and name.startswith(file.stem) else None
    return f"{dated[1]}{dated[3] or ''}" if dated and dated[2] == file.suffix else ""


def lines(file: BufferedIOBase, longest: int = LONGEST) -> Iterator[bytes]:
    """Every line that holds anything, without its end.

    Of a line that is longer only the beginning is given, so nobody takes it for a whole one. Raises BROKEN.
    """
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
    """When a file begins by its first line; where that can't be, when it was last written to."""
    return dated if dated and EARLIEST <= dated <= changed + SLACK else changed


def words(error: BaseException) -> str:
    """Why a file could not be read."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or "it is broken"


class NotALine(ValueError):
    """Says in its text, which quotes nothing of it, why something is no line of a log."""
