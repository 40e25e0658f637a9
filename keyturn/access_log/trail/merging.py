"""Small files become large ones: a file for each minute is a thousand a day, and each that is opened costs time.

What is merged was sealed on one day and follows on one another. The large file is whole before the small ones go, and
counts in their place from its first moment on, so it may be killed at any point. One process merges at a time.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.access_log.trail.layout import (
    DAY,
    NAME,
    SUMMARIES,
    StoredFile,
    files_of,
    source_directory,
    sources,
    superseded,
)
from keyturn.access_log.trail.parquet import (
    COLUMNS,
    DRAFT,
    connected,
    event_files,
    numbering,
    segments_of,
    write_file,
)
from keyturn.access_log.trail.summaries import MEMORY, write_summary
from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.ledger.storage.durable_files import PRIVATE_FILE, make_private_directory

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TOGETHER: Final = 32
"""Files of single segments that become one while their day goes on."""
OPEN: Final = 2
"""The newest segments of a source, which are left alone: whoever takes over may seal them again."""
LARGEST: Final = 512 * 1024 * 1024
"""Bytes of files that become one, ten million events or so."""
LOCK: Final = "merging.lock"


def merge_trail(directory: Path, now: datetime) -> int:
    """Merge what there is to merge, and remove what larger files hold, too. How many files were made.

    ``directory`` is the trail's. Does nothing while another process merges. Raises Unavailable, Invalid, Rewritten.
    """
    with merging_alone(directory) as alone:
        return _merge_sources(directory, now) if alone else 0


def merge_plan(files: Sequence[StoredFile], today: str) -> Iterator[list[StoredFile]]:
    """Which files of one source become one: all of a day that is over, or many small ones of one that goes on.

    ``today`` is YYYYMMDD. Segments that are missing between two files part them.
    """
    newest = files[-1].last if files else 0
    settled = [file for file in files if file.last <= newest - OPEN]
    for day, of_day in groupby(settled, lambda file: file.day):
        if day < today:
            yield from _runs(list(of_day), 2)
        else:
            yield from _runs([file for file in of_day if file.segments < TOGETHER], TOGETHER)


def _runs(files: Sequence[StoredFile], least: int) -> Iterator[list[StoredFile]]:
    """Those that follow on one another, where they are so many."""
    begins = [at for at, file in enumerate(files) if not at or files[at - 1].last + 1 != file.first]
    for begin, end in pairwise([*begins, len(files)]):
        if end - begin >= least:
            yield list(files[begin:end])


def _batches(run: Sequence[StoredFile]) -> Iterator[list[StoredFile]]:
    """Parts of a run, none too large; what is large enough already is in none."""
    batch, size = list[StoredFile](), 0
    for file in run:
        own = file.path.stat().st_size
        if size + own > LARGEST:
            yield batch
            batch, size = [], 0
        batch, size = [*batch, file], size + own
    yield batch


def _merge_sources(directory: Path, now: datetime) -> int:
    """Each source for itself: a broken file of one stops no other."""
    made, errors = 0, list[KeyturnError]()
    for source in sources(directory):
        try:
            made += _merge_source(directory, source, now)
        except KeyturnError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return made


def _merge_source(directory: Path, source: str, now: datetime) -> int:
    _clean(directory, source)
    plan = merge_plan(files_of(directory, source), f"{now.astimezone(UTC):{DAY}}")
    batches = [batch for run in plan for batch in _batches(run) if len(batch) > 1]
    for batch in batches:
        _merge(batch)
    for file in files_of(directory, source):
        if file.segments > 1 and not file.summary.exists():
            with _connected() as connection:
                write_summary(connection, file)
    _clean(directory, source)
    return len(batches)


def _merge(files: Sequence[StoredFile]) -> None:
    segments = [segment for file in files for segment in segments_of(file)]
    merged = StoredFile.of(files[0].directory, files[0].source, segments)
    rows = f"SELECT {', '.join(COLUMNS)} FROM {event_files([file.path for file in files])}"  # noqa: S608
    with _connected() as connection:
        count = sum(segment.count for segment in segments)
        write_file(connection, merged, rows, (), segments, numbering(count))


def _clean(directory: Path, source: str) -> None:
    """Remove what counts no more, and what a run that was killed has left. A segment's own draft may be under way."""
    for file in superseded(directory, source):
        file.path.unlink(missing_ok=True)
    names = {file.name for file in files_of(directory, source)}
    segments, summaries = source_directory(directory, source), source_directory(directory, source, SUMMARIES)
    drafts = [path for path in segments.glob(f".*{DRAFT}") if _is_merged(path.name)]
    orphans = [path for path in summaries.glob("*") if path.name not in names] if summaries.is_dir() else []
    for path in (*drafts, *orphans):
        path.unlink(missing_ok=True)


def _is_merged(draft: str) -> bool:
    match = NAME.fullmatch(draft[1 : -len(DRAFT)])
    return match is not None and match[1] != match[2]


def _connected() -> "AbstractContextManager[DuckDBPyConnection]":
    return connected(memory_limit=MEMORY)


@contextmanager
def merging_alone(directory: Path) -> Iterator[bool]:
    """Whether nobody else merges meanwhile. Raises Unavailable."""
    try:
        make_private_directory(directory)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            yield _locked(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        hint = "See to the owner, the mode and the disk of the trail's directory"
        raise Unavailable("merge", str(directory), error.strerror or "it failed", hint) from None


def _locked(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
