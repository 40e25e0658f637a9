"""Which versions are too old to be given: a newer one was seen, or promised by a notice."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from keyturn.client.secrets import Secret


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
    superseded: tuple[str, str] = ("", "")

    def admits(self, secret: Secret) -> bool:
        """Whether this is no older. A secret that was removed and made again is counted from 1, and made later."""
        if secret.version is None:
            return (secret.source, secret.revision) != self.superseded
        if secret.version >= self.version:
            return True
        return bool(secret.made_at and self.made_at and secret.made_at > self.made_at)


class Floors:
    """At most ``limit`` of them; those that were set first go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._floors: OrderedDict[str, Floor] = OrderedDict()
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
        if secret.version is not None:
            floor = self._floors.get(secret.path)
            self._set(secret.path, Floor(secret.version, secret.made_at, until, floor.promised if floor else 0))

    def promise(self, path: str, version: int, made_at: datetime, held: Secret | None, until: float) -> None:
        """Insist on what a notice has told of, read from now on; an older notice lowers nothing."""
        self._clock = next(self._events)
        floor = self._floors.get(path)
        if floor and floor.version > version and not (floor.made_at and made_at > floor.made_at):
            version, made_at, until = floor.version, floor.made_at or made_at, max(until, floor.until)
        superseded = (held.source, held.revision) if held else ("", "")
        self._set(path, Floor(version, made_at, until, self._clock, superseded))

    def _set(self, path: str, floor: Floor) -> None:
        self._floors[path] = floor
        self._floors.move_to_end(path)
        while len(self._floors) > self._limit:
            self._floors.popitem(last=False)
