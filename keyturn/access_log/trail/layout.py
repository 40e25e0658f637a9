"""The layout of the trail's files: a directory per source, and segments in files.

Files never change. Small ones are merged into larger ones, which count alone while both exist.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from msgspec import Struct

from keyturn.core.errors import Invalid, Unavailable

SEGMENTS: Final = "segments"
"""The directory of event files."""
SUMMARIES: Final = "summaries"
"""The directory of summaries, with the same file names."""
SOURCE: Final = "source="
"""The prefix of a source's directory, before the percent-encoded name."""
NAME: Final = re.compile(r"(\d{10,})-(\d{10,})\.(\d+)\.(-?\d+)-(-?\d+)\.(\d{8})\.parquet")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
DAY: Final = "%Y%m%d"


class Segment(Struct, frozen=True):
    """A file's metadata of one segment.

    Of equal numbers the higher ``fence`` is valid. ``sealed`` is by the sealing host's clock, ``first`` and ``last``
    are event times. ``gaps`` is what the source could not report. The ledger has the hash of the exact text ``head``.
    """

    number: int
    sealed: datetime
    count: int
    first: datetime | None = None
    last: datetime | None = None
    gaps: tuple[str, ...] = ()
    fence: int = 0
    head: str = ""


@dataclass(frozen=True, order=True)
class StoredFile:
    """A file with the segments ``first`` to ``last`` of a source, sealed on one ``day`` (UTC, YYYYMMDD).

    ``fence`` is the highest one. Events are from ``start`` to before ``end``, in seconds since 1970, equal without
    events.
    """

    source: str
    first: int
    last: int
    fence: int
    start: int
    end: int
    day: str
    directory: Path

    @property
    def path(self) -> Path:
        """Its path."""
        return source_directory(self.directory, self.source) / self.name

    @property
    def summary(self) -> Path:
        """The path of its summary, which may not exist."""
        return source_directory(self.directory, self.source, SUMMARIES) / self.name

    @property
    def name(self) -> str:
        """Its file name."""
        numbers, times = f"{self.first:010}-{self.last:010}", f"{self.start}-{self.end}"
        return f"{numbers}.{self.fence}.{times}.{self.day}.parquet"

    @property
    def segments(self) -> int:
        """The number of segments."""
        return self.last - self.first + 1

    def within(self, since: datetime, until: datetime) -> bool:
        """Whether it may contain events between these times, inclusive."""
        return self.start * SECOND <= until - EPOCH and self.end * SECOND > since - EPOCH

    @staticmethod
    def of(directory: Path, source: str, segments: "list[Segment]") -> "StoredFile":
        """Return the file for these consecutive segments."""
        moments = [moment for segment in segments for moment in (segment.first, segment.last) if moment]
        start, end = (min(moments) - EPOCH, max(moments) - EPOCH) if moments else (timedelta(), -SECOND)
        first, last = segments[0], segments[-1]
        day = f"{first.sealed.astimezone(UTC):{DAY}}"
        fence = max(segment.fence for segment in segments)
        times = start // SECOND, end // SECOND + 1
        return StoredFile(source, first.number, last.number, fence, *times, day, directory)


def source_directory(directory: Path, source: str, kind: str = SEGMENTS) -> Path:
    """The directory of a source's files."""
    return directory / kind / f"{SOURCE}{quote(source, safe='')}"


def sources(directory: Path) -> list[str]:
    """The sources with files, by name. Raises Unavailable."""
    names = _listed(directory / SEGMENTS)
    return sorted(unquote(name.removeprefix(SOURCE)) for name in names if name.startswith(SOURCE))


def stored_files(directory: Path) -> list[StoredFile]:
    """Every valid file by source and number. Raises Unavailable, Invalid."""
    return [file for source in sources(directory) for file in files_of(directory, source)]


def files_of(directory: Path, source: str) -> list[StoredFile]:
    """A source's valid files. Raises Unavailable, Invalid for partial overlap."""
    return [file for file, counts in _judged(directory, source) if counts]


def superseded(directory: Path, source: str) -> list[StoredFile]:
    """The files that larger ones contain. Raises Unavailable, Invalid."""
    return [file for file, counts in _judged(directory, source) if not counts]


def _judged(directory: Path, source: str) -> Iterator[tuple[StoredFile, bool]]:
    """Each file by number, larger and later ones first, and whether it is valid."""
    last = -1
    for file in sorted(_named(directory, source), key=lambda file: (file.first, -file.last, -file.fence)):
        if file.first <= last < file.last:
            hint = "It was put there by hand: check which of them the ledger lists, and remove the other"
            raise Invalid("read", str(file.path), "it holds a part of what another file holds", hint)
        yield file, file.last > last
        last = max(last, file.last)


def _named(directory: Path, source: str) -> Iterator[StoredFile]:
    for name in _listed(source_directory(directory, source)):
        if match := NAME.fullmatch(name):
            first, last, fence, start, end = map(int, match.groups()[:5])
            yield StoredFile(source, first, last, fence, start, end, match[6], directory)


def _listed(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from None


def unreadable(path: Path, error: OSError) -> Unavailable:
    """Return the error for an unreadable file or directory."""
    hint = "The trail is for the user who runs Keyturn alone: ask as that user, or see to the disk"
    return Unavailable("read", str(path), error.strerror or "it is broken", hint)
