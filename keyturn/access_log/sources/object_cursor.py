"""The progress in a log of many objects."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder

from keyturn.access_log.sources.file_cursor import foreign_cursor
from keyturn.access_log.sources.passed_objects import Passed

DIGITS: Final = 8
"""Characters of a remembered key's digest: 48 bits, which avoids collisions."""


class ObjectCursor(Struct, frozen=True, omit_defaults=True):
    """A position in the log.

    Up to ``floor``, only late objects are read. ``read`` has later ones: a key's digest alone if it is finished, with a
    position if it may grow, and with the mark of what precedes that. A negative position is an unreadable object's
    size. ``passed`` and ``keys`` are the count and sum of keys up to ``floor``, if known.
    """

    floor: str = ""
    read: tuple[str, ...] = ()
    passed: int | None = None
    keys: str = ""

    def encode(self) -> str:
        """Encode it as text."""
        return _ENCODER.encode(self).decode()

    @staticmethod
    def parse(source: str, text: str) -> "ObjectCursor":
        """Parse a cursor. Raises Invalid."""
        try:
            cursor = _DECODER.decode(text)
        except (DecodeError, UnicodeError, RecursionError):
            raise foreign_cursor(source) from None
        if not cursor.read or not all(_is_entry(entry) for entry in cursor.read):
            raise foreign_cursor(source)
        if cursor.keys and Passed.parse(cursor.passed or 0, cursor.keys) is None:
            raise foreign_cursor(source)
        return cursor

    @staticmethod
    def of(
        floor: str,
        remembered: tuple[str, ...],
        places: Mapping[str, int | None],
        marks: Mapping[str, str],
        passed: Passed | None,
    ) -> "ObjectCursor":
        """Create a cursor with the positions and marks of these digests."""
        entries = tuple(_entry(digest, places[digest], marks.get(digest, "")) for digest in remembered)
        return ObjectCursor(floor, entries).after(passed)

    def after(self, passed: Passed | None) -> "ObjectCursor":
        """Return a copy with another sum."""
        count, keys = (passed.count, passed.encode()) if passed and self.floor else (None, "")
        return ObjectCursor(self.floor, self.read, count, keys)

    @property
    def counted(self) -> Passed | None:
        """The sum of keys up to the floor, None if unknown."""
        return Passed.parse(self.passed or 0, self.keys) if self.keys else None

    @property
    def places(self) -> dict[str, int | None]:
        """The position in each object: None at its end, negative if unreadable."""
        parts = (entry.split(":") for entry in self.read)
        return {digest: int(place[0]) if place else None for digest, *place in parts}

    @property
    def marks(self) -> dict[str, str]:
        """The marks of growing objects."""
        parts = (entry.split(":") for entry in self.read)
        return {digest: place[1] for digest, *place in parts if len(place) > 1}


_ENCODER: Final = Encoder()
_DECODER: Final = Decoder(ObjectCursor, strict=True)


def _is_entry(entry: str) -> bool:
    digest, *place = entry.split(":")
    if len(digest) != DIGITS or len(place) > len(("place", "mark")):
        return False
    return not place or place[0].removeprefix("-").isdecimal()


def _entry(digest: str, offset: int | None, mark: str) -> str:
    if offset is None:
        return digest
    return f"{digest}:{offset}:{mark}" if mark else f"{digest}:{offset}"


@lru_cache(4_000)
def key_digest(key: str) -> str:
    """The short digest of a key."""
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).decode()[:DIGITS]
