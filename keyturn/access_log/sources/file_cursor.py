"""Where in a log of several files a reader is: told by what the files hold, whatever they are called and packed as."""

import hashlib
from typing import Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, Encoder

from keyturn.core.errors import Invalid

TAIL: Final = 256
"""Bytes before a mark that tell whether the file still holds there what was read."""

DIGITS: Final = 16
"""Hex digits of a digest: they tell files of one directory apart, and prove nothing to anybody."""

FINISHED: Final = 160
"""Files that are remembered as read to their end; beyond, the first of them is forgotten."""

MARKS: Final = 14
"""Marks in one file: the newest, and others whose distance from it about doubles."""


def short_digest(text: bytes) -> str:
    """Tells one text from another."""
    return hashlib.sha256(text).hexdigest()[:DIGITS]


class Mark(Struct, frozen=True, array_like=True):
    """A place in a file: the bytes and lines before it, and the digest of the last bytes before it."""

    offset: int = 0
    line: int = 0
    tail: str = ""


START: Final = Mark(tail=short_digest(b""))
"""The beginning of a file, which is there in each."""


class FileCursor(Struct, frozen=True, omit_defaults=True):
    """The place in a log. ``head`` is the digest of the first line of the file that is being read.

    ``name`` is what the file was called when it was begun, ``changed`` when it was last written to, as far as it was
    read, in seconds since 1970; ``marks`` are places in it, the newest last; ``finished`` are the heads of files that
    were read to their end, the newest last; ``memory`` is what later lines need of earlier ones.
    """

    head: str
    name: str
    changed: float = 0.0
    marks: tuple[Mark, ...] = (START,)
    finished: tuple[str, ...] = ()
    memory: Raw = Raw(b"null")

    @property
    def mark(self) -> Mark:
        """The place to go on from."""
        return self.marks[-1]

    def encode(self) -> str:
        """As text."""
        return _ENCODER.encode(self).decode()

    @staticmethod
    def parse(source: str, text: str) -> "FileCursor":
        """Read it back. Raises Invalid."""
        try:
            cursor = _DECODER.decode(text)
        except (DecodeError, UnicodeError):
            raise foreign_cursor(source) from None
        if not cursor.marks or any(mark.offset < 0 or mark.line < 0 for mark in cursor.marks):
            raise foreign_cursor(source)
        return cursor


def foreign_cursor(source: str) -> Invalid:
    """That a cursor is none of this source's."""
    hint = "It was written by something else; to read the log from its beginning, remove it"
    return Invalid("read", source, "the cursor is none of this source's", hint)


_ENCODER: Final = Encoder()
_DECODER: Final = Decoder(FileCursor)


def with_mark(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """The marks and a newer one, thinned out: those far back stand further apart."""
    every = [*(old for old in marks if old.offset < mark.offset), mark]
    while len(every) > MARKS:
        del every[_crowded(every)]
    return tuple(every)


def _crowded(marks: list[Mark]) -> int:
    """Which of them is least missed: its neighbours are closest together, for how far back they are."""
    newest = marks[-1].offset

    def room(index: int) -> float:
        before, after = marks[index - 1].offset, marks[index + 1].offset
        return (after - before) / (newest - before)

    return min(range(1, len(marks) - 1), key=room)


def with_finished(finished: tuple[str, ...], head: str) -> tuple[str, ...]:
    """The files that were read to their end, and one more."""
    return (*(other for other in finished if other != head), head)[-FINISHED:]
