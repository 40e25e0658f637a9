"""Versions that are too old, after a newer one was seen or promised."""

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
    """The oldest version to accept, until ``until``.

    No read may have begun before ``promised``, by :meth:`Floors.clock`. ``superseded`` is the source and revision
    served at the promise, for sources without versions.
    """

    version: int
    made_at: datetime | None
    until: float
    promised: int = 0
    superseded: tuple[str, str] = NOTHING

    def admits(self, secret: Secret) -> bool:
        """Whether the secret is not older. One that was created again starts at 1, with a later time."""
        if secret.version is None:
            return (secret.source, secret.revision) != self.superseded
        if secret.version >= self.version:
            return True
        return bool(secret.made_at and self.made_at and secret.made_at > self.made_at)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a source without versions serves, its first read, and its assumed version."""

    served: tuple[str, str]
    first_read_at: datetime
    version: int
    made_at: datetime | None

    def outlives(self, version: int, made_at: datetime) -> bool:
        """Whether it satisfies such a notice: read after it, or first served after its version was made."""
        remade = self.version > version and self.made_at is not None and made_at > self.made_at
        return (self.version >= version and not remade) or self.first_read_at > made_at


class Floors:
    """At most ``limit`` floors; the oldest are dropped first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._floors: OrderedDict[str, Floor] = OrderedDict()
        self._sightings: OrderedDict[str, Sighting] = OrderedDict()
        self._events = itertools.count(1)
        self._clock = 0

    def clock(self) -> int:
        """A number that grows with each promise; take it before a read."""
        return self._clock

    def admits(self, secret: Secret, now: float, began: int) -> bool:
        """Whether a secret may be given; ``began`` is :meth:`clock` before its read."""
        floor = self._floors.get(secret.path)
        if floor is None or now >= floor.until:
            return True
        return began >= floor.promised and floor.admits(secret)

    def reached(self, secret: Secret, until: float) -> None:
        """Require this version from now on."""
        floor = self._floors.get(secret.path)
        if secret.version is None:
            self._saw(secret, floor)
        else:
            self._set(secret.path, Floor(secret.version, secret.made_at, until, floor.promised if floor else 0))

    def promise(self, path: str, version: int, made_at: datetime, held: Secret | None, until: float) -> None:
        """Require a notice's version, read from now on, unless a newer one is required."""
        self._clock = next(self._events)
        floor = self._floors.get(path)
        superseded = self._superseded(held, version, made_at) if held else floor.superseded if floor else NOTHING
        if floor and floor.version > version and not (floor.made_at and made_at > floor.made_at):
            version, made_at, until = floor.version, floor.made_at or made_at, max(until, floor.until)
        self._set(path, Floor(version, made_at, until, self._clock, superseded))

    def settle(self, path: str) -> None:
        """Accept what a source without versions serves now as the promised version."""
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
