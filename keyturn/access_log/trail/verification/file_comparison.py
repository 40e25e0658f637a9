"""Compare a log's files with what was read: lines that were cut, edited, reordered or inserted.

The trail has digests of each batch and of each line with an access. Other changed lines are reported by batch. Files
are recognised by content, even if renamed or packed.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from keyturn.access_log.log_files import BROKEN, CHUNK, LogFile, rotations, words
from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.heads import read_heads
from keyturn.access_log.trail.parquet import read_segment
from keyturn.access_log.trail.segments import BatchLines, SegmentHead
from keyturn.access_log.trail.verification.chain import entries_by_number
from keyturn.core.errors import KeyturnError, NotFound, Unavailable
from keyturn.ledger.ports import LedgerSource

WINDOW: Final = 200_000
"""Lines that are searched for the next unchanged one."""
TRIES: Final = 50
"""Batches that are searched for the next unchanged one."""
NAMED: Final = 20
"""The most lines that are named for one place."""


@dataclass(frozen=True)
class FileProblem:
    """A problem at a position, with the file's name when it was read."""

    position: str
    what: str

    def __str__(self) -> str:
        return f"{self.position}: {self.what}"


@dataclass
class FileComparison:
    """The number of unchanged lines, problems and remarks."""

    lines: int = 0
    problems: list[FileProblem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    """Lines ``first`` to ``last`` of a file from 1, with segment and first event."""

    name: str
    first: int
    last: int
    lines: BatchLines
    segment: int
    leaf: int

    @property
    def position(self) -> str:
        return f"{self.name}:{self.first}" if self.first == self.last else f"{self.name}:{self.first} to {self.last}"


_Run = list[_Batch]
"""Consecutive batches of one file."""


def compare_files(files: TrailFiles, ledger: LedgerSource, source: str, paths: Sequence[Path]) -> FileComparison:
    """Compare files and their rotations with the trail's segments of this source.

    Raises NotFound where the trail lacks the source, and Unavailable.
    """
    runs = list(_runs(_batches(files, ledger, source)))
    if not runs:
        hint = "Compare where it was read: the trail of that host knows its lines"
        raise NotFound("compare", f"the log {source}", "no lines of it were sealed here", hint)
    there = [_Lines(file) for file in _log_files(paths)]
    try:
        return _Comparing(files, source, runs, there).compare()
    finally:
        for lines in there:
            lines.close()


def _batches(files: TrailFiles, ledger: LedgerSource, source: str) -> Iterator[_Batch]:
    """Yield the batches of all segments whose heads match the ledger."""
    entries = entries_by_number(ledger)
    for sealed in read_heads(files.heads(source)):
        entry = entries.get((source, sealed.head.number))
        if entry and entry.head == sealed.head.digest():
            yield from _of_head(sealed.head)


def _of_head(head: SegmentHead) -> Iterator[_Batch]:
    leaf = 0
    for lines in head.batches:
        (name, first), (_, last) = _place(lines.first), _place(lines.last)
        if lines.lines and last - first + 1 == lines.lines:
            yield _Batch(name, first, last, lines, head.number, leaf)
        leaf += lines.records


def _place(position: str) -> tuple[str, int]:
    """A position's file and line, 0 without one."""
    name, _, line = position.rpartition(":")
    return name, int(line) if line.isdecimal() else 0


def _runs(batches: Iterable[_Batch]) -> Iterator[_Run]:
    run: _Run = []
    for batch in batches:
        if run and (batch.name, batch.first) != (run[-1].name, run[-1].last + 1):
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def _log_files(paths: Sequence[Path]) -> list[LogFile]:
    """Return the files and their rotations, each once. Raises Unavailable."""
    by_path: dict[Path, LogFile] = {}
    for path in paths:
        try:
            several = rotations(path.absolute())
        except OSError as error:
            raise _unreadable(path, error) from None
        if not several:
            raise Unavailable("read", str(path), "there is no such file", "Give the path of the hub's audit file")
        by_path.update({file.path: file for file in several})
    return list(by_path.values())


def _unreadable(path: Path, error: BaseException) -> Unavailable:
    return Unavailable("read", str(path), words(error), "Let this user read it, and compare again")


class _Lines:
    """The lines of one file, accessible by number from 1."""

    def __init__(self, file: LogFile) -> None:
        self.name = file.path.name
        self._ends = array("Q")
        try:
            self._text: IO[bytes] = _unpacked(file)
            self._index()
        except BROKEN as error:
            raise _unreadable(file.path, error) from None

    def __len__(self) -> int:
        return len(self._ends)

    def digest(self, first: int, last: int) -> bytes:
        """The digest of these lines with line feeds, empty if some are missing."""
        if not 1 <= first <= last <= len(self):
            return b""
        begin = self._ends[first - 2] if first > 1 else 0
        self._text.seek(begin)
        hashed, left, end = hashlib.sha256(), self._ends[last - 1] - begin, b""
        while left and (chunk := self._text.read(min(CHUNK, left))):
            hashed.update(chunk)
            left, end = left - len(chunk), chunk[-1:]
        hashed.update(b"" if end == b"\n" else b"\n")
        return hashed.digest()

    def digests(self, first: int, last: int) -> list[bytes]:
        """The digest of each existing line of these, without its end."""
        begin = self._ends[first - 2] if first > 1 else 0
        self._text.seek(begin)
        ends = self._ends[first - 1 : max(last, 0)]
        made = []
        for end in ends:
            made.append(hashlib.sha256(self._text.read(end - begin).removesuffix(b"\n")).digest())
            begin = end
        return made

    def close(self) -> None:
        self._text.close()

    def _index(self) -> None:
        offset, last = 0, b"\n"
        while chunk := self._text.read(CHUNK):
            at = chunk.find(b"\n")
            while at >= 0:
                self._ends.append(offset + at + 1)
                at = chunk.find(b"\n", at + 1)
            offset, last = offset + len(chunk), chunk[-1:]
        if last != b"\n":
            self._ends.append(offset)


def _unpacked(file: LogFile) -> IO[bytes]:
    """Return the unpacked, seekable text. Raises BROKEN."""
    opened = file.opened()
    if not file.packing:
        return opened  # type: ignore[return-value]
    with opened:
        text = tempfile.TemporaryFile()  # noqa: SIM115  closed with the lines
        while chunk := opened.read(CHUNK):
            text.write(chunk)
    text.seek(0)
    return text


class _Comparing:
    """One comparison."""

    def __init__(self, files: TrailFiles, source: str, runs: list[_Run], there: list[_Lines]) -> None:
        self._files = files
        self._source = source
        self._runs = runs
        self._there = there
        self._told = FileComparison()
        self._records: dict[int, list[tuple[int, bytes]]] = {}

    def compare(self) -> FileComparison:
        """Compare every run with the file that contains it."""
        matched = [self._file_of(run) for run in self._runs]
        oldest = next((index for index, lines in enumerate(matched) if lines), None)
        for index, (run, lines) in enumerate(zip(self._runs, matched, strict=True)):
            if lines:
                self._run(run, lines)
            elif oldest is not None and index < oldest:
                self._told.remarks.append(f"{_span(run)} was read and is older than these files: not compared")
            else:
                self._problem(_span(run), "none of its lines is in these files")
        for lines in self._there:
            if lines not in matched and len(lines):
                self._told.remarks.append(f"{lines.name} holds nothing that the trail has read")
        return self._told

    def _problem(self, position: str, what: str) -> None:
        self._told.problems.append(FileProblem(position, what))

    def _file_of(self, run: _Run) -> _Lines | None:
        """The file with a run's lines, even if they have moved."""
        sample = {run[index] for index in (0, len(run) // 3, len(run) // 2, -1)} if len(run) > 3 else set(run)
        for lines in self._there:
            if any(lines.digest(batch.first, batch.last) == batch.lines.digest for batch in sample):
                return lines
        wanted = {digest for batch in sample for _, digest in self._accesses(batch)}
        hits = [(sum(digest in wanted for digest in lines.digests(1, len(lines))), lines) for lines in self._there]
        count, best = max(hits, key=lambda hit: hit[0])
        return best if count else None

    def _run(self, run: _Run, lines: _Lines) -> None:
        """Compare a run's batches in order, also where they have moved."""
        index, shift = 0, 0
        while index < len(run):
            batch = run[index]
            if lines.digest(batch.first + shift, batch.last + shift) == batch.lines.digest:
                self._told.lines += batch.lines.lines
                index += 1
                continue
            after, moved = self._next_whole(run, index, lines, shift)
            begin = batch.first + shift
            end = run[after].first + moved - 1 if after < len(run) else min(len(lines), run[-1].last + moved)
            self._damage(run[index:after], lines, begin, end, at_end=after == len(run))
            index, shift = after, moved

    def _next_whole(self, run: _Run, index: int, lines: _Lines, shift: int) -> tuple[int, int]:
        """The next unchanged batch and its shift, or the run's end."""
        for after in range(index + 1, min(len(run), index + TRIES)):
            if lines.digest(run[after].first + shift, run[after].last + shift) == run[after].lines.digest:
                return after, shift
        begin = max(1, run[index].first + shift - WINDOW // 2)
        places = {digest: begin + at for at, digest in enumerate(lines.digests(begin, begin + WINDOW))}
        for after in range(index + 1, min(len(run), index + TRIES)):
            for line, digest in self._accesses(run[after])[:1]:
                moved = places.get(digest, line + shift) - line
                if lines.digest(run[after].first + moved, run[after].last + moved) == run[after].lines.digest:
                    return after, moved
        return len(run), shift

    def _damage(self, batches: _Run, lines: _Lines, begin: int, end: int, *, at_end: bool) -> None:
        """Report how these batches differ from lines ``begin`` to ``end``."""
        expected = [(f"{batch.name}:{line}", digest) for batch in batches for line, digest in self._accesses(batch)]
        current = lines.digests(begin, end) if end >= begin else []
        there, wanted = set(current), {digest for _, digest in expected}
        count = sum(batch.lines.lines for batch in batches)
        missing = [position for position, digest in expected if digest not in there]
        for position in missing[:NAMED]:
            self._problem(position, "this line is not what it was" if len(current) == count else "this line is gone")
        if len(missing) > NAMED:
            self._problem(missing[NAMED], f"and {len(missing) - NAMED:,} more lines behind it are not what they were")
        self._order(expected, current, wanted)
        where = _span(batches)
        if len(current) > count:
            self._problem(where, _lines(len(current) - count, "put in"))
        elif len(current) < count and not missing:
            self._problem(where, _lines(count - len(current), "removed, from those that report no access"))
        elif at_end and len(current) < count:
            self._problem(where, _lines(count - len(current), "cut off at the end"))
        elif not missing and not self._is_reordered(expected, current, wanted):
            self._problem(where, "a line that reports no access has changed")

    def _is_reordered(self, expected: list[tuple[str, bytes]], current: list[bytes], wanted: set[bytes]) -> bool:
        there = set(current)
        before = [digest for _, digest in expected if digest in there]
        return before != [digest for digest in current if digest in wanted][: len(before)]

    def _order(self, expected: list[tuple[str, bytes]], current: list[bytes], wanted: set[bytes]) -> None:
        """Report the first line whose order has changed."""
        there = set(current)
        before = [(position, digest) for position, digest in expected if digest in there]
        now = [digest for digest in current if digest in wanted]
        for (position, digest), other in zip(before, now, strict=False):
            if digest != other:
                return self._problem(position, "the lines are in another order from here on, or one is repeated")
        return None

    def _accesses(self, batch: _Batch) -> list[tuple[int, bytes]]:
        """Numbers and digests of a batch's lines with accesses, if available."""
        if not batch.lines.records:
            return []
        if batch.segment not in self._records:
            self._records = {batch.segment: self._of_segment(batch.segment)}
        # By place, because two files of one segment may have had the same name.
        return self._records[batch.segment][batch.leaf : batch.leaf + batch.lines.records]

    def _of_segment(self, segment: int) -> list[tuple[int, bytes]]:
        """Numbers and digests of a segment's lines, if available."""
        try:
            records = read_segment(self._files.directory, self._source, segment)
        except KeyturnError:
            return []
        return [(_place(record.position)[1], record.digest) for record in records]


def _lines(count: int, fate: str) -> str:
    return f"1 line was {fate}" if count == 1 else f"{count:,} lines were {fate}"


def _span(batches: Sequence[_Batch]) -> str:
    return _Batch(batches[0].name, batches[0].first, batches[-1].last, batches[0].lines, 0, 0).position
