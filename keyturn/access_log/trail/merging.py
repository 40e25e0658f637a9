"""Merge small files, since one per minute makes a thousand a day and opening them is slow.

Merged files are consecutive and of one day. The large file replaces them at once when it is complete, so that a crash
is harmless. One process merges at a time.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from keyturn.core.files import PRIVATE_FILE, make_private_directory, take_lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TOGETHER: Final = 32
"""Small files that are merged during their day."""
OPEN: Final = 2
"""The newest segments are not merged, because another host may seal them again."""
LARGEST: Final = 512 * 1024 * 1024
"""Bytes of merged files, about ten million events."""
LOCK: Final = "merging.lock"


def merge_trail(directory: Path, now: datetime) -> int:
    """Merge files, delete superseded ones, and return the number of new files.

    It does nothing during another merge. Raises Unavailable, Invalid, Rewritten.
    """
    with merging_alone(directory) as alone:
        return _merge_sources(directory, now) if alone else 0


def merge_plan(files: Sequence[StoredFile], today: str) -> Iterator[list[StoredFile]]:
    """Yield consecutive files to merge: all of a past day, or many small ones of ``today`` (YYYYMMDD)."""
    newest = files[-1].last if files else 0
    settled = [file for file in files if file.last <= newest - OPEN]
    for day, of_day in groupby(settled, lambda file: file.day):
        if day < today:
            yield from _runs(list(of_day), 2)
        else:
            yield from _runs([file for file in of_day if file.segments < TOGETHER], TOGETHER)


def _runs(files: Sequence[StoredFile], least: int) -> Iterator[list[StoredFile]]:
    """Runs of at least ``least`` consecutive files."""
    begins = [at for at, file in enumerate(files) if not at or files[at - 1].last + 1 != file.first]
    for begin, end in pairwise([*begins, len(files)]):
        if end - begin >= least:
            yield list(files[begin:end])


def _batches(run: Sequence[StoredFile]) -> Iterator[list[StoredFile]]:
    """Split a run by size."""
    batch, size = list[StoredFile](), 0
    for file in run:
        own = file.path.stat().st_size
        if size + own > LARGEST:
            yield batch
            batch, size = [], 0
        batch, size = [*batch, file], size + own
    yield batch


def _merge_sources(directory: Path, now: datetime) -> int:
    """Merge each source, whether or not others are broken."""
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
    """Delete superseded files and leftovers of killed runs, but no segment's own draft, which may be in use."""
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
    """Yield whether no other process is merging. Raises Unavailable."""
    try:
        make_private_directory(directory)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            take_lock(descriptor, 0)
        except TimeoutError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)
    except OSError as error:
        hint = "See to the owner, the mode and the disk of the trail's directory"
        raise Unavailable("merge", str(directory), error.strerror or "it failed", hint) from None
