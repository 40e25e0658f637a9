"""A log that is delivered as many files, read as they come: what is late, grows or breaks off included."""

import hashlib
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Final, Protocol

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from keyturn.access_log.log_files import NotALine, words
from keyturn.access_log.sources.file_cursor import foreign_cursor
from keyturn.access_log.sources.line_source import KEPT_ASIDE, MOST_MALFORMED, problem_of
from keyturn.access_log.sources.objects import LARGEST, Layout, ObjectStore, Piece, StoredObject, unpacked
from keyturn.core.access import Access
from keyturn.core.access_source import Batch, Malformed, SourceRecord
from keyturn.core.errors import Unavailable

REMEMBERED: Final = 300
"""Objects before the newest that is read in which late ones are still looked for, and what grows is read on."""

LISTED: Final = 2_000
"""Objects that are listed at once."""

DIGITS: Final = 8
"""Characters that tell the keys of those apart that are remembered: 48 bits, so that none is taken for another."""

UNSETTLED: Final = 60.0
"""Seconds after which one that breaks off is no more taken for one that is being written."""

STRETCH: Final = 16 * 1024 * 1024
"""Bytes of a growing one that are read at once, where they hold a whole record."""

TAIL: Final = 1024
"""Bytes before a place by which a growing object is known to be still the one that was read up to there."""

MARKED: Final = 3
"""Characters of their digest: the chance that another object has the same is one in 262,144."""

NAMED: Final = 3
"""Objects that a gap names."""

ENOUGH: Final = 20_000
"""Records of one batch that are looked at."""


class RecordReader(Protocol):
    """What the records of a log tell. Used by one thread."""

    def accesses(self, record: bytes) -> Sequence[Access]:
        """What one tells; nothing where it is no access. Raises ValueError, which quotes nothing of it."""


class ObjectCursor(Struct, frozen=True, omit_defaults=True):
    """The place in the log.

    Of the objects up to ``floor`` nothing is read any more. ``read`` tells of the later ones: the digest of a key by
    itself of one that was read to its end, with a colon and a place of one that is being read, or may grow, and with
    another the mark of what stands before that. A place below zero is the size of one that could not be read.
    ``passed`` is how many there were up to ``floor``, None where nobody has counted.
    """

    floor: str = ""
    read: tuple[str, ...] = ()
    passed: int | None = None

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
        return cursor

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


@lru_cache(2 * LISTED)
def key_digest(key: str) -> str:
    """Tells a key from others that are remembered."""
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).decode()[:DIGITS]


class ObjectLog:
    """An :class:`keyturn.core.access_source.AccessSource` of all objects of ``store``, in the order that it gives them.

    One that comes late has its turn as long as fewer than :data:`REMEMBERED` behind it were read.
    """

    def __init__(
        self, name: str, pace: float, store: ObjectStore, layout: Layout, reader: RecordReader, hint: str
    ) -> None:
        self.name = name
        self.pace = pace
        self._store = store
        self._layout = layout
        self._reader = reader
        self._hint = hint
        self._listing: list[StoredObject] = []
        self._listed_for = ""
        self._cut_short = False
        self._waiting: set[str] = set()
        self._ahead: dict[tuple[str, int], float] = {}
        self._held: tuple[str, bytes] = ("", b"")
        self._looked_at: dict[str, float] = {}
        self._replaced: set[str] = set()

    def read(self, cursor: str | None, limit: int) -> Batch:
        """What came after ``cursor``. Raises KeyturnError where nobody could look, and Invalid for no cursor of its."""
        place = ObjectCursor.parse(self.name, cursor) if cursor else ObjectCursor()
        try:
            return self._read(place, cursor or "", limit)
        except OSError as error:
            place_name = str(error.filename or self._store.name)
            raise Unavailable("read", place_name, words(error), self._hint) from None

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._listing, self._listed_for, self._held = [], "", ("", b"")

    def _read(self, place: ObjectCursor, cursor: str, limit: int) -> Batch:
        listed = bool(self._listing) and self._listed_for == cursor
        batch = (None if listed else self._list(place)) or self._next(place, limit)
        if batch is None and self._cut_short:
            batch = self._list(place) or self._next(place, limit)
        if batch is None:
            self._listing = []
            return Batch(cursor)
        self._listed_for = batch.cursor
        return batch

    def _next(self, place: ObjectCursor, limit: int) -> Batch | None:
        """What the first object tells that was not read to its end; None without any.

        No more are read past one that is not whole yet than the cursor can tell of.
        """
        places, past = place.places, 0
        for stored in self._listing:
            if stored.key not in self._waiting and self._is_unread(stored, places) and past < REMEMBERED:
                if (taking := self._take(stored, place, places, limit)) is not None:
                    return self._batch(place, places, taking)
                self._waiting.add(stored.key)
            past += bool(self._waiting) and key_digest(stored.key) in places
        return None

    def _list(self, place: ObjectCursor) -> Batch | None:
        """List them anew. What is told of those that came too late, if any did."""
        objects = (stored for stored in self._store.objects(place.floor) if stored.size or not self._is_settled(stored))
        self._listing = list(islice(objects, LISTED))
        self._cut_short = len(self._listing) == LISTED
        self._waiting = set()
        listed = {stored.key for stored in self._listing}
        self._ahead = {state: since for state, since in self._ahead.items() if state[0] in listed}
        self._look_at_the_same(place)
        return self._late(place)

    def _late(self, place: ObjectCursor) -> Batch | None:
        """That there are more up to the floor than when that was passed: nobody reads them."""
        passed = self._store.passed(place.floor)
        if passed is None or place.passed is None or passed <= place.passed:
            return None
        count = passed - place.passed
        names = ", ".join(self._store.newest(place.floor, min(count, NAMED)))
        others = f" and {count - NAMED:,} more" if count > NAMED else ""
        gap = f"{names}{others} came behind more than {REMEMBERED} newer ones that were read before: not read"
        return Batch(replace(place, passed=passed).encode(), gaps=(gap,), more=True)

    def _look_at_the_same(self, place: ObjectCursor) -> None:
        """Find those of the same size that are not what was read, once after a start and where they were changed."""
        places, marks = place.places, place.marks
        growing = [stored for stored in self._listing if self._grows(stored) and key_digest(stored.key) in marks]
        self._replaced = {
            stored.key
            for stored in growing
            if stored.size == places[key_digest(stored.key)]
            and self._looked_at.get(stored.key) != stored.changed
            and self._mark(stored.key, stored.size) != marks[key_digest(stored.key)]
        }
        self._looked_at = {stored.key: stored.changed for stored in growing}

    def _mark(self, key: str, end: int) -> str:
        """What stands before a place, so that it is growing again."""
        before = self._store.read(key, max(0, end - TAIL), min(end, TAIL))
        return urlsafe_b64encode(hashlib.sha256(before).digest()).decode()[:MARKED]

    def _is_settled(self, stored: StoredObject) -> bool:
        """Whether nobody writes to it any more; of one from the future, once it was seen for as long as it is."""
        now = time.time()
        if stored.changed <= now:
            return now - stored.changed >= UNSETTLED
        since = self._ahead.setdefault((stored.key, stored.size), time.monotonic())
        return time.monotonic() - since >= UNSETTLED

    def _is_unread(self, stored: StoredObject, places: dict[str, int | None]) -> bool:
        """Whether it holds what was not read: what grows, or was broken, where it has another size by now."""
        digest = key_digest(stored.key)
        if digest not in places or stored.key in self._replaced:
            return True
        offset = places[digest]
        if offset is not None and offset < 0:
            return stored.size != -offset
        return offset is not None and (not self._grows(stored) or offset != stored.size)

    def _grows(self, stored: StoredObject) -> bool:
        return self._layout.grows and not stored.key.endswith(".gz")

    def _take(
        self, stored: StoredObject, place: ObjectCursor, places: dict[str, int | None], limit: int
    ) -> "_Taking | None":
        """What it tells next; None where that is not whole yet."""
        taking = _Taking(stored, max(0, places.get(key_digest(stored.key)) or 0))
        if not stored.size and not taking.end:
            return None
        if self._grows(stored):
            mark = place.marks.get(key_digest(stored.key))
            if taking.end <= stored.size and mark and self._mark(stored.key, taking.end) != mark:
                self._replaced.discard(stored.key)
                return taking.replaced()
            return self._take_growing(taking, limit)
        try:
            pieces = self._layout.pieces(unpacked(self._whole(stored)), 0, whole=True)
        except NotALine as error:
            _, data = self._held
            self._held = ("", b"")
            return taking.broken(error, data) if self._is_settled(stored) else None
        taking.pieces([piece for piece in pieces if piece.begin >= taking.end], self._reader, limit)
        return taking

    def _take_growing(self, taking: "_Taking", limit: int) -> "_Taking | None":
        """What was added to it, as far as it was listed: what came since is read after the next listing."""
        stored, begin = taking.stored, taking.end
        if begin > stored.size:
            return taking.cut()
        for stretch in (STRETCH, LARGEST):
            data = self._store.read(stored.key, begin, min(stretch, stored.size - begin))
            if pieces := self._layout.pieces(data, begin):
                taking.pieces(pieces, self._reader, limit)
                taking.finished = False
                return taking
            if len(data) < stretch:
                break
        if not data:
            return None  # somebody has cut it since it was listed
        if not data.strip():
            taking.end = begin + len(data)
            return taking
        return taking.unfinished(data) if self._is_settled(stored) or len(data) == LARGEST else None

    def _whole(self, stored: StoredObject) -> bytes:
        """All of it, held for the batches that it takes."""
        if self._held[0] != stored.key:
            self._held = (stored.key, self._store.read(stored.key))
        return self._held[1]

    def _batch(self, place: ObjectCursor, places: dict[str, int | None], taking: "_Taking") -> Batch:
        key = taking.stored.key
        after = {**places, key_digest(key): None if taking.finished else taking.end}
        marks = {digest: mark for digest, mark in place.marks.items() if digest != key_digest(key)}
        if self._grows(taking.stored) and not taking.finished and taking.end > 0:
            marks[key_digest(key)] = self._mark(key, taking.end)
        return taking.batch(self._moved(place, after, marks).encode())

    def _moved(self, place: ObjectCursor, places: dict[str, int | None], marks: Mapping[str, str]) -> ObjectCursor:
        """The cursor with the floor as high as fits: what is remembered are the last of those that were read.

        It passes none that is to be read yet. Those that are not there any more are remembered while there is room.
        """
        listed = [key_digest(stored.key) for stored in self._listing]
        read = [number for number, digest in enumerate(listed) if digest in places]
        begin = read[-REMEMBERED] if len(read) > REMEMBERED else 0
        begin = next((n for n in range(begin) if self._is_unread(self._listing[n], places)), begin)
        window = [digest for digest in listed[begin:] if digest in places]
        there = set(listed)
        gone = [digest for digest in places if digest not in there]
        room = max(0, REMEMBERED - len(window))
        remembered = (*gone[max(0, len(gone) - room) :], *window)
        floor = self._listing[begin - 1].key if begin else place.floor
        self._listing = self._listing[begin:]
        entries = tuple(_entry(digest, places[digest], marks.get(digest, "")) for digest in remembered)
        return ObjectCursor(floor, entries, self._store.passed(floor))


def _entry(digest: str, offset: int | None, mark: str) -> str:
    if offset is None:
        return digest
    return f"{digest}:{offset}:{mark}" if mark else f"{digest}:{offset}"


@dataclass
class _Taking:
    """What one object told so far, from ``end`` on it is unread."""

    stored: StoredObject
    end: int
    finished: bool = False
    records: list[SourceRecord] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    taken: list[Piece] = field(default_factory=list)
    gaps: tuple[str, ...] = ()

    def pieces(self, pieces: list[Piece], reader: RecordReader, limit: int) -> None:
        """Take what fits into a batch."""
        for piece in pieces:
            full = len(self.taken) >= ENOUGH or len(self.malformed) >= MOST_MALFORMED
            if full or not self._fits(piece, reader, limit):
                return
            self.taken.append(piece)
            self.end = piece.end
        self.finished = True

    def _fits(self, piece: Piece, reader: RecordReader, limit: int) -> bool:
        position = self._position(piece)
        try:
            accesses = reader.accesses(piece.record)
        except (ValueError, RecursionError) as error:
            self.malformed.append(Malformed(position, problem_of(error), piece.record[:KEPT_ASIDE]))
            return True
        if self.records and len(self.records) + len(accesses) > limit:
            return False
        digest = hashlib.sha256(piece.record).digest()
        self.records += [
            SourceRecord(access, digest, position if not number else f"{position}.{number}")
            for number, access in enumerate(accesses)
        ]
        return True

    def broken(self, error: NotALine, data: bytes) -> "_Taking":
        """That none of it can be read; where it changes it is looked at again."""
        self.malformed.append(Malformed(self.stored.key, problem_of(error), data[:KEPT_ASIDE]))
        self.taken.append(Piece(0, 0, data))
        self.end = -self.stored.size
        return self

    def unfinished(self, data: bytes) -> "_Taking":
        """That its last record breaks off."""
        piece = Piece(self.end, self.end + len(data), data)
        self.malformed.append(Malformed(self._position(piece), "it breaks off", data[:KEPT_ASIDE]))
        self.taken.append(piece)
        self.end = piece.end
        return self

    def cut(self) -> "_Taking":
        """That it is shorter than what was read of it."""
        key, size = self.stored.key, self.stored.size
        self.gaps = (f"{key} was read up to byte {self.end:,} and has {size:,} now: it was cut",)
        self.end = self.stored.size
        return self

    def replaced(self) -> "_Taking":
        """That what was read of it is not in it any more: it is read as another one."""
        self.gaps = (f"{self.stored.key} is not what was read of it up to byte {self.end:,}: it was replaced",)
        self.end = 0
        return self

    def _position(self, piece: Piece) -> str:
        return f"{self.stored.key}#{piece.begin}"

    def batch(self, cursor: str) -> Batch:
        """What came of it."""
        if not self.taken:
            return Batch(cursor, gaps=self.gaps, more=True)
        digest = hashlib.sha256()
        for piece in self.taken:
            digest.update(piece.record)
            digest.update(b"\n")
        first, last = self._position(self.taken[0]), self._position(self.taken[-1])
        return Batch(cursor, self.records, len(self.taken), first, last, digest.digest(), self.malformed, more=True)
