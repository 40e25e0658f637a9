"""How far a log of many objects was read: which of the newest, and what all of those before them come to."""

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
"""Characters that tell the keys of those apart that are remembered: 48 bits, so that none is taken for another."""


class ObjectCursor(Struct, frozen=True, omit_defaults=True):
    """The place in the log.

    Of the objects up to ``floor`` nothing is read any more but what comes late. ``read`` tells of the later ones: the
    digest of a key by itself of one that was read to its end, with a colon and a place of one that is being read, or
    may grow, and with another the mark of what stands before that. A place below zero is the size of one that could
    not be read. ``passed`` is how many there were up to ``floor``, and ``keys`` what their keys come to; None and
    empty where nobody has counted.
    """

    floor: str = ""
    read: tuple[str, ...] = ()
    passed: int | None = None
    keys: str = ""

    def encode(self) -> str:
        """As text."""
        return _ENCODER.encode(self).decode()

    @staticmethod
    def parse(source: str, text: str) -> "ObjectCursor":
        """Read it back. Raises Invalid."""
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
        """The cursor that remembers these digests with their places and marks."""
        entries = tuple(_entry(digest, places[digest], marks.get(digest, "")) for digest in remembered)
        return ObjectCursor(floor, entries).after(passed)

    def after(self, passed: Passed | None) -> "ObjectCursor":
        """The same with another count of those up to the floor."""
        count, keys = (passed.count, passed.encode()) if passed and self.floor else (None, "")
        return ObjectCursor(self.floor, self.read, count, keys)

    @property
    def counted(self) -> Passed | None:
        """Those up to the floor; None where nobody has counted them."""
        return Passed.parse(self.passed or 0, self.keys) if self.keys else None

    @property
    def places(self) -> dict[str, int | None]:
        """How far each was read: None is to its end, for good; less than zero, not at all while it has that size."""
        parts = (entry.split(":") for entry in self.read)
        return {digest: int(place[0]) if place else None for digest, *place in parts}

    @property
    def marks(self) -> dict[str, str]:
        """What stood before the places of those that grow."""
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
    """Tells a key from others that are remembered."""
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).decode()[:DIGITS]
