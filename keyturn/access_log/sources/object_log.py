"""Read a log of many objects, including late, growing and truncated ones."""

import hashlib
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from keyturn.access_log.log_files import NotALine, words
from keyturn.access_log.sources.object_cursor import ObjectCursor, key_digest
from keyturn.access_log.sources.object_taking import RecordReader, Taking
from keyturn.access_log.sources.objects import LARGEST, Layout, ObjectStore, StoredObject, unpacked
from keyturn.access_log.sources.passed_objects import Passed, find_late, passed_of
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access_source import Batch

REMEMBERED: Final = 300
"""The most individually remembered objects, whose growth is read."""

LISTED: Final = 2_000
"""Objects per listing."""

UNSETTLED: Final = 60.0
"""Seconds after which a truncated object no longer counts as being written."""

STRETCH: Final = 16 * 1024 * 1024
"""Bytes per read of a growing object, if enough for a record."""

TAIL: Final = 1024
"""Bytes before a position that identify a growing object."""

MARKED: Final = 3
"""Characters of their digest, with collisions of 1 in 262,144."""

NAMED: Final = 3
"""Objects that a gap names."""


class ObjectLog:
    """An ``AccessSource`` of all objects of ``store``, in its order.

    Late objects are read first if the store can identify them, otherwise they are a gap.
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
        self._late: list[StoredObject] = []
        self._waiting: set[str] = set()
        self._ahead: dict[tuple[str, int], float] = {}
        self._held: tuple[str, bytes] = ("", b"")
        self._looked_at: dict[str, float] = {}
        self._replaced: set[str] = set()

    def read(self, cursor: str | None, limit: int) -> Batch:
        """Return what follows ``cursor``. Raises KeyturnError, and Invalid for a foreign cursor."""
        place = ObjectCursor.parse(self.name, cursor) if cursor else ObjectCursor()
        try:
            return self._read(place, cursor or "", limit)
        except OSError as error:
            place_name = str(error.filename or self._store.name)
            raise Unavailable("read", place_name, words(error), self._hint) from None

    def close(self) -> None:
        """Discard what was read ahead."""
        self._listing, self._late, self._listed_for, self._held = [], [], "", ("", b"")

    def _read(self, place: ObjectCursor, cursor: str, limit: int) -> Batch:
        listed = bool(self._listing or self._late) and self._listed_for == cursor
        batch = (None if listed else self._list(place)) or self._next(place, limit)
        if batch is None and self._cut_short:
            batch = self._list(place) or self._next(place, limit)
        if batch is None:
            self._listing, self._late = [], []
            return Batch(cursor)
        self._listed_for = batch.cursor
        return batch

    def _next(self, place: ObjectCursor, limit: int) -> Batch | None:
        """Return the first unread object's next batch, or None.

        It passes only as many objects after an incomplete one as the cursor remembers.
        """
        places, past = place.places, 0
        for stored in (*self._late[:1], *self._listing):
            if stored.key not in self._waiting and self._is_unread(stored, places) and past < REMEMBERED:
                if (taking := self._take(stored, place, places, limit)) is not None:
                    return self._batch(place, places, taking)
                self._waiting.add(stored.key)
            past += bool(self._waiting) and key_digest(stored.key) in places
        return None

    def _list(self, place: ObjectCursor) -> Batch | None:
        """List the objects. Return a batch with a gap for unknown late ones."""
        objects = (stored for stored in self._store.objects(place.floor) if not self._is_empty(stored))
        self._listing = list(islice(objects, LISTED))
        self._cut_short = len(self._listing) == LISTED
        self._waiting = set()
        self._look_at_the_same(place)
        if batch := self._look_for_late(place):
            self._listing = []  # the next listing uses the cursor of this batch
        listed = {stored.key for stored in (*self._late, *self._listing)}
        self._ahead = {state: since for state, since in self._ahead.items() if state[0] in listed}
        return batch

    def _look_for_late(self, place: ObjectCursor) -> Batch | None:
        """Find objects that arrived below the floor, in order of arrival.

        Return a batch with a gap where they are unknown or too many. Fewer objects than before mean nothing, since a
        mount may be missing.
        """
        self._late = []
        passed, counted = self._store.passed(place.floor), place.counted
        if passed is None or counted is None or passed.count <= counted.count:
            return None
        arrived, missing = self._store.arrived(place.floor), passed - counted
        late = find_late(arrived, missing) if missing.count <= LISTED else None
        if late is None:
            return Batch(place.after(passed).encode(), gaps=(_not_read(arrived, missing.count),), more=True)
        if self._is_empty(late[0]) or not self._is_unread(late[0], place.places):
            return Batch(place.after(counted + passed_of([late[0].key])).encode(), more=True)
        self._late = late
        return None

    def _look_at_the_same(self, place: ObjectCursor) -> None:
        """Find replaced objects of equal size, after a start or change."""
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
        """The digest of the bytes before a position."""
        before = self._store.read(key, max(0, end - TAIL), min(end, TAIL))
        return urlsafe_b64encode(hashlib.sha256(before).digest()).decode()[:MARKED]

    def _is_empty(self, stored: StoredObject) -> bool:
        return not stored.size and self._is_settled(stored)

    def _is_settled(self, stored: StoredObject) -> bool:
        """Whether it is no longer written to. For a time in the future, its age since first seen counts."""
        now = time.time()
        if stored.changed <= now:
            return now - stored.changed >= UNSETTLED
        since = self._ahead.setdefault((stored.key, stored.size), time.monotonic())
        return time.monotonic() - since >= UNSETTLED

    def _is_unread(self, stored: StoredObject, places: dict[str, int | None]) -> bool:
        """Whether it has unread data: it is new, replaced, or has another size."""
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
    ) -> "Taking | None":
        """Return its next batch, None if that is incomplete."""
        taking = Taking(stored, max(0, places.get(key_digest(stored.key)) or 0))
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

    def _take_growing(self, taking: "Taking", limit: int) -> "Taking | None":
        """Return what was added up to the listed size."""
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
            return None  # it was cut after it was listed
        if not data.strip():
            taking.end = begin + len(data)
            return taking
        return taking.unfinished(data) if self._is_settled(stored) or len(data) == LARGEST else None

    def _whole(self, stored: StoredObject) -> bytes:
        """Return the whole object, cached across its batches."""
        if self._held[0] != stored.key:
            self._held = (stored.key, self._store.read(stored.key))
        return self._held[1]

    def _batch(self, place: ObjectCursor, places: dict[str, int | None], taking: "Taking") -> Batch:
        key = taking.stored.key
        after = {**places, key_digest(key): None if taking.finished else taking.end}
        marks = {digest: mark for digest, mark in place.marks.items() if digest != key_digest(key)}
        if self._grows(taking.stored) and not taking.finished and taking.end > 0:
            marks[key_digest(key)] = self._mark(key, taking.end)
        return taking.batch(self._moved(place, after, marks).encode())

    def _moved(self, place: ObjectCursor, places: dict[str, int | None], marks: Mapping[str, str]) -> ObjectCursor:
        """Return the cursor with the highest possible floor.

        The floor passes no unread object, and stays while late ones wait. Removed objects are remembered while there is
        room.
        """
        counted = self._counted(place, places)
        listed = [key_digest(stored.key) for stored in self._listing]
        read = [number for number, digest in enumerate(listed) if digest in places]
        begin = read[-REMEMBERED] if len(read) > REMEMBERED and not self._late else 0
        begin = next((n for n in range(begin) if self._is_unread(self._listing[n], places)), begin)
        window = [digest for digest in listed[begin:] if digest in places]
        late = [digest for digest in (key_digest(stored.key) for stored in self._late) if digest in places]
        there = {*listed, *late}
        gone = [digest for digest in places if digest not in there]
        room = max(0, REMEMBERED - len(window) - len(late))
        remembered = (*gone[max(0, len(gone) - room) :], *late, *window)
        floor = self._listing[begin - 1].key if begin else place.floor
        self._listing = self._listing[begin:]
        if floor != place.floor:
            counted = self._store.passed(floor)
        return ObjectCursor.of(floor, remembered, places, marks, counted)

    def _counted(self, place: ObjectCursor, places: dict[str, int | None]) -> Passed | None:
        """Count objects up to the floor, and forget a finished late one."""
        if place.counted is None or not self._late:
            return place.counted or self._store.passed(place.floor)
        first = self._late[0]
        if key_digest(first.key) not in places or self._is_unread(first, places):
            return place.counted
        del places[key_digest(first.key)]
        self._late = self._late[1:]
        return place.counted + passed_of([first.key])


def _not_read(arrived: Sequence[StoredObject], count: int) -> str:
    """Return a gap that names the latest arrivals."""
    names = ", ".join(stored.key for stored in reversed(arrived[-min(count, NAMED) :]))
    others = f" and {count - NAMED:,} more" if count > NAMED else ""
    return f"{names}{others} came behind more than {REMEMBERED} newer ones that were read before: not read"
