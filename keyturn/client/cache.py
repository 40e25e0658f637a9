"""What is kept of secrets that were read: how many, for how long, and what may still be given while nobody answers.

A hit is a lookup in a plain map, which Python does in C: no clock is read and nothing is counted there. What grows old
is taken out of that map by :meth:`Cache.tick`, and whoever asks for it then takes the longer way. Room is made as by
the CLOCK algorithm (Corbató, 1968), with one whole turn of the hand at once: what is in the map is left in the memory
and out of the map, goes back into it when it is asked for, and what was not asked for since goes first.
"""

import heapq
import itertools
import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Final

from keyturn.client.minimum_versions import Floors
from keyturn.client.offline.port import NOTHING_OFFLINE, Offline
from keyturn.client.policy import CachePolicy
from keyturn.client.secrets import Secret
from keyturn.core.errors import TerminalError

TIMERS_BESIDE: Final = 64
"""So many timers that no longer matter are kept beside four for each entry."""


class Hot(dict[str, Secret]):
    """The map that hits are read from; what is not in it is asked of ``miss``."""

    __slots__ = ("_miss",)

    def __init__(self, miss: Callable[[str], Secret]) -> None:
        super().__init__()
        self._miss = miss

    def __missing__(self, path: str) -> Secret:
        return self._miss(path)


class Look(Enum):
    """What is to be done about a secret that was asked for."""

    GIVE = auto()
    """Give it."""
    GIVE_AND_READ = auto()
    """Give it, and read it again meanwhile."""
    READ = auto()
    """Read it first."""


@dataclass(slots=True)
class Entry:
    """A secret that is kept. All instants are those of one monotonic clock, in seconds."""

    secret: Secret
    size: int
    policy: CachePolicy
    renew_at: float
    """From then on it is read again as soon as somebody asks for it."""
    fresh_until: float
    hot_until: float = 0.0
    retry_at: float = 0.0
    """When sources are asked again that could not be asked; 0 where they could."""

    @property
    def ends_at(self) -> float:
        """When it may not be given under any circumstances."""
        return self.fresh_until + max(self.policy.revalidate_ttl, self.policy.resurrect_ttl)


@dataclass(frozen=True, slots=True)
class Absence:
    """Why there is nothing, and until when that is believed."""

    error: TerminalError
    until: float


Timer = tuple[float, int, str, Entry]
"""When an entry is to be looked at, and a number of its own, so that no two are compared further."""


class Cache:
    """Secrets by their paths. Every method but the map's own lookup takes ``now``, and may be called by any thread.

    At most ``max_entries`` and ``max_bytes`` (of names and values, as UTF-8) are kept. ``sooner`` is called when
    :meth:`tick` is to be called sooner than it said last. ``offline`` hears of what is kept and what is let go.
    """

    def __init__(
        self,
        miss: Callable[[str], Secret],
        policy_of: Callable[[str], CachePolicy],
        max_entries: int,
        max_bytes: int,
        sooner: Callable[[], object] = bool,
        draw: Callable[[], float] = random.random,
        offline: Offline = NOTHING_OFFLINE,
    ) -> None:
        self.hot = Hot(miss)
        self.floors = Floors(4 * max_entries)
        self.bytes = 0
        self.policy_of = policy_of
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._sooner = sooner
        self._draw = draw
        self.offline = offline
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._cold: OrderedDict[str, None] = OrderedDict()
        self._absent: OrderedDict[str, Absence] = OrderedDict()
        self._timers: list[Timer] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def held(self, path: str) -> Secret | None:
        """What is kept of it, however old."""
        entry = self._entries.get(path)
        return entry.secret if entry else None

    def look(self, path: str, now: float) -> tuple[Look, Secret | None]:
        """What to do for somebody who asks. Raises the error that is known of what is not there."""
        with self._lock:
            self._raise_absence(path, now)
            entry = self._entries.get(path)
            if entry is None or now >= entry.ends_at:
                self._drop(path)
                return Look.READ, None
            return self._look_at(path, entry, now)

    def put(self, secret: Secret, now: float, began: int = 0) -> bool:
        """Keep what was read; False, and nothing is kept, for what is older than what was promised since.

        ``began`` is what :meth:`Floors.clock` said before it was read.
        """
        with self._lock:
            if not self.floors.admits(secret, now, began):
                return False
            policy = self.policy_of(secret.path)
            self.floors.reached(secret, now + policy.floor_ttl)
            self._drop(secret.path)
            self._absent.pop(secret.path, None)
            size = size_of(secret)
            if size <= self._max_bytes and policy.ttl > 0:
                self._keep(secret, size, policy, now)
            self.offline.put(secret, policy)
            return True

    def adopt(self, secret: Secret, age: float, now: float, began: int) -> bool:
        """Keep what was read ``age`` seconds ago, since no source can be asked; whether it may still be given.

        What is kept or believed of it by now is newer, and stays; ``began`` is as for :meth:`put`.
        """
        with self._lock:
            policy, size = self.policy_of(secret.path), size_of(secret)
            fresh_until = now - age + policy.drawn_ttl(0.0, secret)
            entry = Entry(
                replace(secret, stale=True), size, policy, now, fresh_until, retry_at=now + policy.retry_after
            )
            over = min(policy.ttl, policy.resurrect_ttl) <= 0 or now >= self._end_of_giving(entry)
            newer = secret.path in self._entries or secret.path in self._absent
            admitted = self.floors.admits(secret, now, began)
            if over or newer or not admitted or size > self._max_bytes:
                return False
            self._hold(entry, min(entry.retry_at, self._end_of_giving(entry)))
            return True

    def put_absence(self, path: str, error: TerminalError, now: float) -> None:
        """Believe for a while that there is nothing, or that it may not be read; what was kept of it is let go."""
        with self._lock:
            self._drop(path)
            self.offline.forget(path)
            self._absent[path] = Absence(error, now + self.policy_of(path).neg_ttl)
            while len(self._absent) > self._max_entries:
                self._absent.popitem(last=False)

    def failed(self, path: str, now: float) -> Secret | None:
        """What may be given although it could not be read again; sources are left alone for a while then."""
        with self._lock:
            entry = self._entries.get(path)
            if entry is None or now >= max(entry.fresh_until, entry.fresh_until + entry.policy.resurrect_ttl):
                return None
            entry.retry_at = now + entry.policy.retry_after
            return self._give_old(path, entry, now)

    def promise(self, path: str, version: int, made_at: datetime, until: float) -> None:
        """Give nothing older than this version, and nothing whose reading has begun before; see :class:`Floors`."""
        with self._lock:
            self.floors.promise(path, version, made_at, self.held(path), until)
            self.offline.let_go(path)
            self.forget(path)

    def settle(self, path: str) -> None:
        """A source that tells no version was waited for; see :meth:`Floors.settle`."""
        with self._lock:
            self.floors.settle(path)

    def forget(self, path: str) -> None:
        """Keep nothing of it."""
        with self._lock:
            self._drop(path)
            self._absent.pop(path, None)

    def clear(self) -> None:
        """Keep nothing at all."""
        with self._lock:
            for path in [*self._entries]:
                self._drop(path)
            self._absent.clear()
            self._timers.clear()

    def paths(self) -> list[str]:
        """What was asked for since the last look at it, or a turn of the hand ago."""
        with self._lock:
            return [*self.hot]

    def secrets(self) -> list[Secret]:
        """All that is kept, however old."""
        with self._lock:
            return [entry.secret for entry in self._entries.values()]

    def tick(self, now: float) -> float | None:
        """Take what has grown old out of the map; the instant of the next time, None where nothing waits."""
        with self._lock:
            while self._timers and self._timers[0][0] <= now:
                _, _, path, entry = heapq.heappop(self._timers)
                if self._entries.get(path) is entry:
                    self._look_after(path, entry, now)
            return self._timers[0][0] if self._timers else None

    def _look_at(self, path: str, entry: Entry, now: float) -> tuple[Look, Secret | None]:
        if now < entry.renew_at:
            return Look.GIVE, self._heat(path, entry, entry.renew_at)
        if entry.retry_at > now and now < self._end_of_giving(entry):
            return Look.GIVE, self._give_old(path, entry, now)
        if now < entry.fresh_until:
            return Look.GIVE_AND_READ, self._heat(path, entry, entry.fresh_until)
        if now < entry.fresh_until + entry.policy.revalidate_ttl or (entry.retry_at and now < entry.ends_at):
            return Look.GIVE_AND_READ, entry.secret
        return Look.READ, None

    def _give_old(self, path: str, entry: Entry, now: float) -> Secret:
        """What could not be read again, until that is tried anew; it is stale from the moment that it was due."""
        if now < entry.fresh_until:
            return self._heat(path, entry, min(entry.retry_at, entry.fresh_until))
        entry.secret = entry.secret if entry.secret.stale else replace(entry.secret, stale=True)
        return self._heat(path, entry, min(entry.retry_at, self._end_of_giving(entry)))

    def _end_of_giving(self, entry: Entry) -> float:
        return entry.fresh_until + entry.policy.resurrect_ttl

    def _keep(self, secret: Secret, size: int, policy: CachePolicy, now: float) -> None:
        ttl = policy.drawn_ttl(self._draw(), secret)
        entry = Entry(secret, size, policy, now + ttl * policy.ahead, now + ttl)
        self._hold(entry, entry.renew_at)

    def _hold(self, entry: Entry, until: float) -> None:
        self._make_room(entry.size)
        self._entries[entry.secret.path] = entry
        self.bytes += entry.size
        self._heat(entry.secret.path, entry, until)

    def _heat(self, path: str, entry: Entry, until: float) -> Secret:
        entry.hot_until = until
        self._cold.pop(path, None)
        self.hot[path] = entry.secret
        self._wake(path, entry, until)
        return entry.secret

    def _look_after(self, path: str, entry: Entry, now: float) -> None:
        if now >= entry.ends_at:
            self._drop(path)
        elif path in self.hot and now >= entry.hot_until:
            del self.hot[path]
            self._cold[path] = None
            self._wake(path, entry, entry.ends_at)

    def _wake(self, path: str, entry: Entry, at: float) -> None:
        timer = (at, next(self._numbers), path, entry)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._sooner()
        if len(self._timers) > 4 * len(self._entries) + TIMERS_BESIDE:
            self._timers = [
                (each.hot_until if name in self.hot else each.ends_at, next(self._numbers), name, each)
                for name, each in self._entries.items()
            ]
            heapq.heapify(self._timers)

    def _make_room(self, size: int) -> None:
        while self._entries and (len(self._entries) >= self._max_entries or self.bytes + size > self._max_bytes):
            if not self._cold:
                self._cold.update(dict.fromkeys(self.hot))
                self.hot.clear()
            self._drop(next(iter(self._cold)))

    def _drop(self, path: str) -> None:
        self.hot.pop(path, None)
        self._cold.pop(path, None)
        if entry := self._entries.pop(path, None):
            self.bytes -= entry.size

    def _raise_absence(self, path: str, now: float) -> None:
        absence = self._absent.get(path)
        if absence is None:
            return
        if now < absence.until:
            raise type(absence.error)(*absence.error.args)
        del self._absent[path]


def size_of(secret: Secret) -> int:
    """Bytes of the names and values, as UTF-8, which half a character of JSON's is none of."""
    fields = secret.fields.items()
    return sum(len(text.encode(errors="surrogatepass")) for name, value in fields for text in (name, value.reveal()))
