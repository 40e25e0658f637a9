"""Where the trail's events lie: a directory for each source, and which of its files hold which segments.

Each file is whole, and never changed. Small ones are merged into larger ones. Until the small ones are removed both are
there, and what another file holds besides is not counted: so any moment shows every segment once.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from msgspec import Struct

from keyturn.core.errors import Invalid, Unavailable

SEGMENTS: Final = "segments"
"""The directory of the files, in the trail's own."""
SUMMARIES: Final = "summaries"
"""The directory of what sums them up, beside that: a file of the same name."""
SOURCE: Final = "source="
"""How a source's directory begins; its name is behind it, percent-encoded."""
NAME: Final = re.compile(r"(\d{10,})-(\d{10,})\.(\d+)\.(-?\d+)-(-?\d+)\.(\d{8})\.parquet")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
DAY: Final = "%Y%m%d"


class Segment(Struct, frozen=True):
    """What a file tells of one segment besides its events.

    ``number`` counts a source's segments, one after the other; of two with one number that with the higher ``fence``
    counts. ``sealed`` is by the clock of who sealed it, ``first`` and ``last`` are the earliest and the latest of its
    events, None without any. ``gaps`` says in words what the source could not tell. ``head`` is the text that the
    ledger vouches for; it is kept as it is, and not read here.
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
    """One file: the segments ``first`` to ``last`` of a source, which were sealed on one ``day`` (UTC, YYYYMMDD).

    ``fence`` is the highest of theirs. Its events lie from ``start`` on, and before ``end``: seconds since 1970, the
    same where it has none.
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
        """Where it is."""
        return source_directory(self.directory, self.source) / self.name

    @property
    def summary(self) -> Path:
        """Where its summary is, if it has one."""
        return source_directory(self.directory, self.source, SUMMARIES) / self.name

    @property
    def name(self) -> str:
        """Its name."""
        numbers, times = f"{self.first:010}-{self.last:010}", f"{self.start}-{self.end}"
        return f"{numbers}.{self.fence}.{times}.{self.day}.parquet"

    @property
    def segments(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def within(self, since: datetime, until: datetime) -> bool:
        """Whether an event of it may lie between the two, both included."""
        return self.start * SECOND <= until - EPOCH and self.end * SECOND > since - EPOCH

    @staticmethod
    def of(directory: Path, source: str, segments: "list[Segment]") -> "StoredFile":
        """What holds these segments, which follow on one another."""
        moments = [moment for segment in segments for moment in (segment.first, segment.last) if moment]
        start, end = (min(moments) - EPOCH, max(moments) - EPOCH) if moments else (timedelta(), -SECOND)
        first, last = segments[0], segments[-1]
        day = f"{first.sealed.astimezone(UTC):{DAY}}"
        fence = max(segment.fence for segment in segments)
        times = start // SECOND, end // SECOND + 1
        return StoredFile(source, first.number, last.number, fence, *times, day, directory)


def source_directory(directory: Path, source: str, kind: str = SEGMENTS) -> Path:
    """Where a source's files lie in the trail's directory."""
    return directory / kind / f"{SOURCE}{quote(source, safe='')}"


def sources(directory: Path) -> list[str]:
    """The sources that have files, by name. Raises Unavailable."""
    names = _listed(directory / SEGMENTS)
    return sorted(unquote(name.removeprefix(SOURCE)) for name in names if name.startswith(SOURCE))


def stored_files(directory: Path) -> list[StoredFile]:
    """Every file that counts, each segment in one of them, by source and number. Raises Unavailable, Invalid."""
    return [file for source in sources(directory) for file in files_of(directory, source)]


def files_of(directory: Path, source: str) -> list[StoredFile]:
    """Those of one source. Raises Unavailable, and Invalid where two overlap of which neither holds the other."""
    return [file for file, counts in _judged(directory, source) if counts]


def superseded(directory: Path, source: str) -> list[StoredFile]:
    """Those whose segments are in a larger file, too. Raises Unavailable, Invalid."""
    return [file for file, counts in _judged(directory, source) if not counts]


def missing_numbers(files: list[StoredFile]) -> Iterator[tuple[int, int]]:
    """The first and last number of each run of segments of one source that lies between its files, and is in none."""
    for before, after in pairwise(files):
        if after.first > before.last + 1:
            yield before.last + 1, after.first - 1


def _judged(directory: Path, source: str) -> Iterator[tuple[StoredFile, bool]]:
    """Each file, and whether it counts; by number, a larger one before those that it holds, a later before an older."""
    last = -1
    for file in sorted(_named(directory, source), key=lambda file: (file.first, -file.last, -file.fence)):
        if file.first <= last < file.last:
            hint = "Somebody has put it there: look which of them the ledger vouches for, and take the other away"
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
    """A file or directory of the trail that can't be read."""
    hint = "The trail is for the user who runs Keyturn alone: ask as that user, or see to the disk"
    return Unavailable("read", str(path), error.strerror or "it is broken", hint)
