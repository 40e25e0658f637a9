"""The unsealed events of a source: a file with a line per event, and one after each batch.

The first line has the segment's number and previous cursor. A batch counts once its own line is on disk. A rest after
that is from a crash, and overwritten.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from keyturn.access_log.trail.files import TrailFiles, opened, telling, write_durably
from keyturn.access_log.trail.leaves import encode_lines
from keyturn.access_log.trail.segments import BatchLines, MalformedLine, SegmentHead
from keyturn.access_log.trail.tree import EventTree
from keyturn.core.errors import Invalid
from keyturn.core.files import append_durably
from keyturn.core.ports.access_source import Batch, SourceRecord
from keyturn.ledger.merkle import leaf_hashes

AT_ONCE: Final = 4096
"""Leaves that are hashed at once."""

EVENT: Final = b'{"access":'
"""The beginning of event lines only."""


class SpoolBeginning(Struct, frozen=True):
    """The first line: the segment and the cursor before it."""

    source: str
    number: int
    before: str | None


class SpoolBatch(Struct, frozen=True, omit_defaults=True):
    """The line after a batch's events. It contains their number."""

    cursor: str
    lines: BatchLines
    earliest: datetime | None = None
    latest: datetime | None = None
    malformed: tuple[MalformedLine, ...] = ()
    gaps: tuple[str, ...] = ()


class SpoolLine(Struct, frozen=True, omit_defaults=True):
    """One of the spool's own lines. ``sealing`` is the head of a segment about to be sealed."""

    beginning: SpoolBeginning | None = None
    batch: SpoolBatch | None = None
    sealing: SegmentHead | None = None


class Spool:
    """The open segment of one source, for one thread and one process at a time."""

    def __init__(self, path: Path, beginning: SpoolBeginning) -> None:
        self.path = path
        self.beginning = beginning
        self.cursor = beginning.before
        self.sealing: SegmentHead | None = None
        self.records = 0
        self.seal_at = 0
        self._batches: list[SpoolBatch] = []
        self.tree = EventTree()
        self._whole = 0
        self._inode = 0

    @classmethod
    def begin(cls, path: Path, source: str, number: int, before: str | None) -> "Spool":
        """Replace the spool with a new one. Raises Unavailable."""
        beginning = SpoolBeginning(source, number, before)
        with telling("begin", path):
            write_durably(path, _line(SpoolLine(beginning=beginning)))
            return cls._read(path)

    @classmethod
    def load(cls, path: Path) -> "Spool | None":
        """Load the spool, if it exists. Raises Unavailable, Invalid."""
        with telling("read", path):
            return cls._read(path) if path.exists() else None

    @property
    def batches(self) -> Sequence[SpoolBatch]:
        """The batches so far."""
        return self._batches

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to seal."""
        return not self._batches

    def is_as_left(self) -> bool:
        """Whether no other process has written to it since."""
        with suppress(OSError):
            status = os.stat(self.path, follow_symlinks=False)
            return (status.st_ino, status.st_size) == (self._inode, self._whole)
        return False

    def add(self, batch: Batch) -> None:
        """Append a batch durably. Raises Unavailable, and is then unchanged."""
        events = encode_lines(batch.records)
        leaves = events.split(b"\n")[:-1]
        times = [record.access.at for record in batch.records]
        malformed = tuple(
            MalformedLine(line.position, line.problem, hashlib.sha256(line.record).digest()) for line in batch.malformed
        )
        taken = SpoolBatch(
            batch.cursor,
            BatchLines(batch.first, batch.last, batch.lines, batch.digest, len(leaves)),
            min(times, default=None),
            max(times, default=None),
            malformed,
            tuple(batch.gaps),
        )
        self._append(events + _line(SpoolLine(batch=taken)))
        self._take(taken, leaves)

    def seal(self, head: SegmentHead) -> None:
        """Note that it is about to be sealed. Raises Unavailable."""
        self._append(_line(SpoolLine(sealing=head)))
        self.sealing = head

    def _append(self, content: bytes) -> None:
        with telling("write", self.path), opened(self.path) as file:
            self._whole = append_durably(file.fileno(), content, self._whole)
            self._inode = os.fstat(file.fileno()).st_ino

    def _take(self, batch: SpoolBatch, leaves: Sequence[bytes]) -> None:
        for begun in range(0, len(leaves), AT_ONCE):
            self.tree.extend(leaf_hashes(leaves[begun : begun + AT_ONCE]))
        self.records += len(leaves)
        self._batches.append(batch)
        self.cursor = batch.cursor
        self.sealing = None

    @classmethod
    def _read(cls, path: Path) -> "Spool":
        with path.open("rb") as file:
            spool, leaves, torn = cls(path, _beginning(path, file.readline())), list[bytes](), False
            size = spool._whole = file.tell()
            spool._inode = os.fstat(file.fileno()).st_ino
            for line in file:
                size += len(line)
                if line.startswith(EVENT):
                    leaves.append(line[:-1])
                elif not (own := _own(line)) or (own.batch and own.batch.lines.records != len(leaves)):
                    torn, leaves = True, []
                elif torn:
                    # A crash damages only the end, because it is cut off before anything else is written.
                    raise damaged_spool(path, "a batch in it is not whole, and there are others behind it")
                else:
                    if own.batch:
                        spool._take(own.batch, leaves)
                    spool.sealing = own.sealing
                    spool._whole, leaves = size, []
        return spool


@dataclass(frozen=True)
class OpenSegment:
    """A spool as others read it, with its future segment number."""

    source: str
    number: int
    path: Path

    def records(self) -> Iterator[SourceRecord]:
        """Yield its events in order. The last may be incomplete. Raises Unavailable.

        It takes precedence over a file of the same number from interrupted sealing.
        """
        decoder = msgspec.json.Decoder(SourceRecord)
        with telling("read", self.path), self.path.open("rb") as file:
            for line in file:
                if line.startswith(EVENT) and line.endswith(b"\n"):
                    yield decoder.decode(line)


@contextmanager
def held_spools(directory: Path) -> Iterator[list[OpenSegment]]:
    """Open all spools, unaffected by later replacement. Raises like :func:`open_segments`."""
    with ExitStack() as files:
        segments = []
        for path in TrailFiles(directory).spools():
            with telling("read", path), suppress(FileNotFoundError):
                file = files.enter_context(path.open("rb"))
                beginning = _beginning(path, file.readline())
                os.lseek(file.fileno(), 0, os.SEEK_SET)  # another descriptor may share the file offset
                segments.append(OpenSegment(beginning.source, beginning.number, Path(f"/dev/fd/{file.fileno()}")))
        yield segments


def open_segments(directory: Path) -> list[OpenSegment]:
    """The trail's unsealed segments by source. Raises Unavailable, Invalid."""
    segments = []
    for path in TrailFiles(directory).spools():
        with telling("read", path), suppress(FileNotFoundError), path.open("rb") as file:
            beginning = _beginning(path, file.readline())
            segments.append(OpenSegment(beginning.source, beginning.number, path))
    return segments


def _line(line: SpoolLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _own(line: bytes) -> SpoolLine | None:
    """Decode one of the spool's own lines, None if incomplete."""
    if not line.endswith(b"\n"):
        return None
    try:
        return msgspec.json.decode(line, type=SpoolLine)
    except msgspec.MsgspecError:
        return None


def _beginning(path: Path, line: bytes) -> SpoolBeginning:
    own = _own(line)
    if own is None or own.beginning is None:
        raise damaged_spool(path, "it does not say which segment it is")
    return own.beginning


def damaged_spool(path: Path, problem: str) -> Invalid:
    """Return the error for a damaged spool."""
    hint = "Move it elsewhere: what is not sealed is read again from the log"
    return Invalid("read", str(path), f"{problem}: it was edited by hand, or the disk is broken", hint)
