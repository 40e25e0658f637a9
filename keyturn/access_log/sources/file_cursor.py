"""A position in a log of several files, identified by content."""

import hashlib
from typing import Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, Encoder

from keyturn.core.errors import Invalid

TAIL: Final = 256
"""Bytes before a mark that show whether the text is unchanged."""

DIGITS: Final = 16
"""Hex digits that distinguish files of a directory."""

FINISHED: Final = 160
"""The most remembered finished files. The first are forgotten."""

MARKS: Final = 14
"""The most marks in a file, at about doubling distances."""


def short_digest(text: bytes) -> str:
    """A short digest that distinguishes texts."""
    return hashlib.sha256(text).hexdigest()[:DIGITS]


class Mark(Struct, frozen=True, array_like=True):
    """A position, and the digest of the bytes before it."""

    offset: int = 0
    line: int = 0
    tail: str = ""


START: Final = Mark(tail=short_digest(b""))
"""The beginning of any file."""


class FileCursor(Struct, frozen=True, omit_defaults=True):
    """A position in a log. ``head`` is the digest of the current file's first line.

    ``name`` is its first name, ``changed`` its last change in seconds since 1970. ``marks`` are positions and
    ``finished`` other files' heads, newest last. ``memory`` is the reader's state.
    """

    head: str
    name: str
    changed: float = 0.0
    marks: tuple[Mark, ...] = (START,)
    finished: tuple[str, ...] = ()
    memory: Raw = Raw(b"null")

    @property
    def mark(self) -> Mark:
        """The position for continuing."""
        return self.marks[-1]

    def encode(self) -> str:
        """Encode it as text."""
        return _ENCODER.encode(self).decode()

    @staticmethod
    def parse(source: str, text: str) -> "FileCursor":
        """Parse a cursor. Raises Invalid."""
        try:
            cursor = _DECODER.decode(text)
        except (DecodeError, UnicodeError):
            raise foreign_cursor(source) from None
        if not cursor.marks or any(mark.offset < 0 or mark.line < 0 for mark in cursor.marks):
            raise foreign_cursor(source)
        return cursor


def foreign_cursor(source: str) -> Invalid:
    """Return the error for another source's cursor."""
    hint = "It was written by something else; to read the log from its beginning, remove it"
    return Invalid("read", source, "the cursor is none of this source's", hint)


_ENCODER: Final = Encoder()
_DECODER: Final = Decoder(FileCursor)


def with_mark(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """Add a mark, and thin out old ones."""
    every = [*(old for old in marks if old.offset < mark.offset), mark]
    while len(every) > MARKS:
        del every[_crowded(every)]
    return tuple(every)


def _crowded(marks: list[Mark]) -> int:
    """The mark with the closest neighbours relative to their age."""
    newest = marks[-1].offset

    def room(index: int) -> float:
        before, after = marks[index - 1].offset, marks[index + 1].offset
        return (after - before) / (newest - before)

    return min(range(1, len(marks) - 1), key=room)


def with_finished(finished: tuple[str, ...], head: str) -> tuple[str, ...]:
    """Add a finished file."""
    return (*(other for other in finished if other != head), head)[-FINISHED:]
