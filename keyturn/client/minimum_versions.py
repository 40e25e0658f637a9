"""Which versions are too old to be given: a newer one was seen, or promised by a notice."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.client.secrets import Secret

NOTHING: Final = ("", "")
"""The revision of no source."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest version to be taken, until then.

    ``promised`` is the instant, by :meth:`Floors.clock`, before which no read may have begun: what was read earlier
    may be what has ended. ``superseded`` is the revision, by its source, that was served when it was promised, for
    sources that know no version.
    """

    version: int
    made_at: datetime | None
    until: float
    promised: int = 0
    superseded: tuple[str, str] = NOTHING

    def admits(self, secret: Secret) -> bool:
        """Whether this is no older. A secret that was removed and made again is counted from 1, and made later."""
        if secret.version is None:
            return (secret.source, secret.revision) != self.superseded
        if secret.version >= self.version:
            return True
        return bool(secret.made_at and self.made_at and secret.made_at > self.made_at)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a source that knows no version serves, when that was first read, and the version it is for all we know."""

    served: tuple[str, str]
    first_read_at: datetime
    version: int
    made_at: datetime | None

    def outlives(self, version: int, made_at: datetime) -> bool:
        """Whether it is what such a notice tells of: it was read behind one, or served since that version was made."""
        remade = self.version > version and self.made_at is not None and made_at > self.made_at
        return (self.version >= version and not remade) or self.first_read_at > made_at


class Floors:
    """At most ``limit`` of them; those that were set first go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._floors: OrderedDict[str, Floor] = OrderedDict()
        self._sightings: OrderedDict[str, Sighting] = OrderedDict()
        self._events = itertools.count(1)
        self._clock = 0

    def clock(self) -> int:
        """A number that grows with each promise: ask it before a read begins."""
        return self._clock

    def admits(self, secret: Secret, now: float, began: int) -> bool:
        """Whether a secret that was read may be given; ``began`` is what :meth:`clock` said before."""
        floor = self._floors.get(secret.path)
        if floor is None or now >= floor.until:
            return True
        return began >= floor.promised and floor.admits(secret)

    def reached(self, secret: Secret, until: float) -> None:
        """Insist on this version, which is served now."""
        floor = self._floors.get(secret.path)
        if secret.version is None:
            self._saw(secret, floor)
        else:
            self._set(secret.path, Floor(secret.version, secret.made_at, until, floor.promised if floor else 0))

    def promise(self, path: str, version: int, made_at: datetime, held: Secret | None, until: float) -> None:
        """Insist on what a notice has told of, read from now on; an older notice lowers nothing."""
        self._clock = next(self._events)
        floor = self._floors.get(path)
        superseded = self._superseded(held, version, made_at) if held else floor.superseded if floor else NOTHING
        if floor and floor.version > version and not (floor.made_at and made_at > floor.made_at):
            version, made_at, until = floor.version, floor.made_at or made_at, max(until, floor.until)
        self._set(path, Floor(version, made_at, until, self._clock, superseded))

    def settle(self, path: str) -> None:
        """What is served now is what was promised: its source was waited for, and tells no version."""
        if (floor := self._floors.get(path)) and floor.superseded != NOTHING:
            self._floors[path] = replace(floor, superseded=NOTHING)

    def _superseded(self, held: Secret, version: int, made_at: datetime) -> tuple[str, str]:
        served, sighting = (held.source, held.revision), self._sightings.get(held.path)
        believed = sighting and sighting.served == served and sighting.outlives(version, made_at)
        return NOTHING if believed else served

    def _saw(self, secret: Secret, floor: Floor | None) -> None:
        served, before = (secret.source, secret.revision), self._sightings.get(secret.path)
        first = before.first_read_at if before and before.served == served else secret.read_at
        version, made_at = (floor.version, floor.made_at) if floor else (0, None)
        self._sightings[secret.path] = Sighting(served, first, version, made_at)
        _make_room(self._sightings, secret.path, self._limit)

    def _set(self, path: str, floor: Floor) -> None:
        self._floors[path] = floor
        _make_room(self._floors, path, self._limit)


def _make_room(table: OrderedDict[str, Any], newest: str, limit: int) -> None:
    table.move_to_end(newest)
    while len(table) > limit:
        table.popitem(last=False)
