"""Secrets kept in memory, with their lifetimes and limits.

A hit is a plain map lookup in C, without reading a clock or counting. :meth:`Cache.tick` takes expired entries out of
that map. Eviction follows the CLOCK algorithm (Corbató, 1968), with one whole sweep at once: all entries leave the map,
and those without a lookup since are evicted first.
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
"""Obsolete timers kept in addition to four for each entry."""


class Hot(dict[str, Secret]):
    """The map for hits; ``miss`` answers for any other path."""

    __slots__ = ("_miss",)

    def __init__(self, miss: Callable[[str], Secret]) -> None:
        super().__init__()
        self._miss = miss

    def __missing__(self, path: str) -> Secret:
        return self._miss(path)


class Look(Enum):
    """How to answer a lookup."""

    GIVE = auto()
    """Give it."""
    GIVE_AND_READ = auto()
    """Give it, and read it again in the background."""
    READ = auto()
    """Read it first."""


@dataclass(slots=True)
class Entry:
    """A kept secret. All instants are seconds of one monotonic clock."""

    secret: Secret
    size: int
    policy: CachePolicy
    renew_at: float
    """From then on, a lookup starts a background read."""
    fresh_until: float
    hot_until: float = 0.0
    retry_at: float = 0.0
    """When sources that did not answer are asked again; 0 otherwise."""

    @property
    def ends_at(self) -> float:
        """The instant from which it may never be given."""
        return self.fresh_until + max(self.policy.revalidate_ttl, self.policy.resurrect_ttl)


@dataclass(frozen=True, slots=True)
class Absence:
    """The error for an absent secret, and until when to believe it."""

    error: TerminalError
    until: float


Timer = tuple[float, int, str, Entry]
"""The instant of a check, a unique number as a tie-breaker, the path, and the entry."""


class Cache:
    """Secrets by path. Thread-safe. All but the map's lookup take ``now``.

    The limits are ``max_entries``, and ``max_bytes`` of names and values as UTF-8. ``sooner`` is called when
    :meth:`tick` is due earlier than it returned.
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
        """The kept secret, however old."""
        entry = self._entries.get(path)
        return entry.secret if entry else None

    def look(self, path: str, now: float) -> tuple[Look, Secret | None]:
        """How to answer a lookup. Raises the known error of an absent secret."""
        with self._lock:
            self._raise_absence(path, now)
            entry = self._entries.get(path)
            if entry is None or now >= entry.ends_at:
                self._drop(path)
                return Look.READ, None
            return self._look_at(path, entry, now)

    def put(self, secret: Secret, now: float, began: int = 0) -> bool:
        """Keep a secret; False where it is older than a later promise.

        ``began`` is the value of :meth:`Floors.clock` before its read.
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
        """Keep a secret that was read ``age`` seconds ago; whether it may be given.

        A secret or absence that is already kept is newer, and stays. ``began`` is as for :meth:`put`.
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
        """Drop the secret, and believe for ``neg_ttl`` that it is absent or forbidden."""
        with self._lock:
            self._drop(path)
            self.offline.forget(path)
            self._absent[path] = Absence(error, now + self.policy_of(path).neg_ttl)
            while len(self._absent) > self._max_entries:
                self._absent.popitem(last=False)

    def failed(self, path: str, now: float) -> Secret | None:
        """The secret to give after a failed read, without another attempt before ``retry_after``."""
        with self._lock:
            entry = self._entries.get(path)
            if entry is None or now >= max(entry.fresh_until, entry.fresh_until + entry.policy.resurrect_ttl):
                return None
            entry.retry_at = now + entry.policy.retry_after
            return self._give_old(path, entry, now)

    def promise(self, path: str, version: int, made_at: datetime, until: float) -> None:
        """Give no version older than this one, and no result of an earlier read; see :class:`Floors`."""
        with self._lock:
            self.floors.promise(path, version, made_at, self.held(path), until)
            self.offline.let_go(path)
            self.forget(path)

    def settle(self, path: str) -> None:
        """End the wait for a source without versions; see :meth:`Floors.settle`."""
        with self._lock:
            self.floors.settle(path)

    def forget(self, path: str) -> None:
        """Drop what is kept of a path."""
        with self._lock:
            self._drop(path)
            self._absent.pop(path, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            for path in [*self._entries]:
                self._drop(path)
            self._absent.clear()
            self._timers.clear()

    def paths(self) -> list[str]:
        """The paths with a lookup since the last sweep."""
        with self._lock:
            return [*self.hot]

    def secrets(self) -> list[Secret]:
        """All kept secrets, however old."""
        with self._lock:
            return [entry.secret for entry in self._entries.values()]

    def tick(self, now: float) -> float | None:
        """Take expired entries out of the map; the instant of the next call, if any."""
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
        """A secret that could not be read again; stale once its policy required that."""
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
    """Bytes of the names and values as UTF-8, with lone surrogates."""
    fields = secret.fields.items()
    return sum(len(text.encode(errors="surrogatepass")) for name, value in fields for text in (name, value.reveal()))
