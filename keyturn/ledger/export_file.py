"""A ledger as two JSON Lines files: leaves, and objects with a note as ``checkpoint``."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final

from keyturn.core.errors import Rewritten, Unavailable
from keyturn.ledger.entries import BEGINNING, leaves_of
from keyturn.ledger.ports import Entries

PRIVATE: Final = 0o600

LINE_LIMIT: Final = 1 << 20
"""Maximum bytes of a line; an entry takes a few hundred."""

AT_ONCE: Final = 4096
"""Lines per write."""

_SEQUENCE: Final = re.compile(re.escape(BEGINNING).replace(b"%d", rb"([1-9][0-9]{0,17})"))


class Exported:
    """A :class:`keyturn.ledger.ports.LedgerSource` on such files, without tiles.

    Reads raise Unavailable for an unreadable file.
    """

    def __init__(self, entries: Path, checkpoints: Path | None = None) -> None:
        self._entries = entries
        self._checkpoints = checkpoints

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The numbers in the lines, and the lines."""
        return leaves_of(self.tails(first, last))

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The numbers in the lines, 0 for none, and their rests."""
        for line in _lines(self._entries):
            match = _SEQUENCE.match(line)
            number, tail = (int(match[1]), line[match.end() :]) if match else (0, line)
            if last is not None and number > last:
                return
            if number >= first:
                yield number, tail

    def checkpoints(self) -> Iterator[str]:
        """The notes. Raises Rewritten at a malformed line."""
        for line in _lines(self._checkpoints) if self._checkpoints else ():
            try:
                note = json.loads(line)["checkpoint"]
            except (ValueError, TypeError, KeyError, RecursionError):
                note = None
            if not isinstance(note, str):
                raise Rewritten("read", str(self._checkpoints), "a line of it is no checkpoint", "Export it again")
            yield note

    def tile(self, level: int, number: int) -> bytes:
        """Empty: tiles are not exported."""
        return b""


def write_export(source: Entries, entries: Path, checkpoints: Path | None = None) -> int:
    """Write both files (0600), over older ones; the number of entries. Raises Unavailable."""
    # The checkpoints first, so that the entries read later include all that they cover.
    if checkpoints:
        notes = (json.dumps({"checkpoint": note}).encode() for note in source.checkpoints())
        _write(checkpoints, notes)
    return _write(entries, (leaf for _, leaf in source.leaves()))


def _lines(file: Path) -> Iterator[bytes]:
    with _telling("read", file), file.open("rb") as opened:
        while line := opened.readline(LINE_LIMIT):
            yield line.removesuffix(b"\n")


def _write(file: Path, lines: Iterable[bytes]) -> int:
    written, rest = 0, iter(lines)
    with _telling("write", file), _private(file) as opened:
        while batch := list(islice(rest, AT_ONCE)):
            opened.write(b"".join(line + b"\n" for line in batch))
            written += len(batch)
    return written


def _private(file: Path) -> IO[bytes]:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    return os.fdopen(descriptor, "wb")


@contextmanager
def _telling(doing: str, file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(doing, str(file), os.strerror(error.errno or 0).lower(), "Check the path") from None
