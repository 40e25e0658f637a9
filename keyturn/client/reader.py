"""Reads secrets into the cache: once for concurrent callers, and nothing older than promised."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from keyturn.client.cache import Cache, Look
from keyturn.client.failover import Failover, lagging
from keyturn.client.keeper import Keeper
from keyturn.client.peers import Peers
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event, Statistics
from keyturn.client.watches import Watches
from keyturn.core.errors import Denied, KeyturnError, NotFound, TransientError

THREADS: Final = 8
"""Concurrent reads of single secrets."""
TRIES: Final = 3
"""Attempts to read despite newer promises."""


class Reader:
    """Connects a cache to its sources. ``keeper`` reads in the background, ``watches`` are informed of reads.

    Reads of ``peers`` are reused. Thread-safe.
    """

    def __init__(
        self,
        failover: Callable[[], Failover],
        statistics: Statistics,
        clock: Callable[[], float],
        keeper: Keeper,
        watches: Watches,
        peers: Peers,
    ) -> None:
        self.cache: Cache
        self._failover = failover
        self._statistics = statistics
        self._clock = clock
        self._keeper = keeper
        self._watches = watches
        self._peers = peers
        self._outdated: set[str] = set()
        self._lock = threading.Lock()
        self._flights: dict[str, Future[Secret]] = {}

    def miss(self, path: str) -> Secret:
        """The secret for a lookup that is not in the map of hits."""
        self._statistics.count(Event.MISS)
        look, secret = self.cache.look(path, self._clock())
        if secret is None:
            return self.read(path, self._saw_later, missing=True)
        if look is Look.GIVE_AND_READ:
            self._keeper.renew(path)
        return secret

    def read(self, path: str, saw: Callable[[Secret], object] | None = None, *, missing: bool = False) -> Secret:
        """Read a secret from its source. If no source answers, return the cached one where the policy allows it.

        ``saw`` is called with the secret instead of its watches. ``missing``: only fill the cache, so a concurrent read
        counts.
        """
        try:
            secret = self.fetch(path, self.oldest(path), missing=missing)
        except (NotFound, Denied):
            raise
        except KeyturnError as error:
            old = self.cache.failed(path, self._clock())
            if old is None and isinstance(error, TransientError) and self.cache.offline.find(path, self._clock()):
                old = self.cache.failed(path, self._clock())
            if old is None:
                raise
            if old.stale:
                self._statistics.count(Event.STALE)
            return old
        (saw or self._watches.saw)(secret)
        return secret

    def fresh(self, path: str, since: datetime | None = None) -> Secret:
        """Read it, or wait for a read in progress. Raises the sources' errors; the kept secret then stays.

        A read of the host's other processes after ``since`` is accepted, by default after now.
        """
        secret = self.fetch(path, since)
        self._watches.saw(secret)
        return secret

    def fetch(self, path: str, since: datetime | None = None, *, missing: bool = False) -> Secret:
        """The same as :meth:`read` or :meth:`fresh`, without calling the watches."""
        mine = Future[Secret]()
        with self._lock:
            # A read that ended after this thread had missed has filled the cache before its flight was removed.
            if missing and path not in self._flights and (filled := self.cache.look(path, self._clock())[1]):
                return filled
            flight = self._flights.setdefault(path, mine)
        return flight.result() if flight is not mine else self._fly(path, since or datetime.now(UTC), mine)

    def oldest(self, path: str) -> datetime:
        """The instant after which another process must have read it: after this one, and within ``ttl``."""
        now = datetime.now(UTC)
        if path in self._outdated:
            return now
        held, oldest = self.cache.held(path), now - timedelta(seconds=self.cache.policy_of(path).ttl)
        return max(held.read_at, oldest) if held else oldest

    def outdated(self, path: str) -> None:
        """Record a source's new version, so that earlier reads are not reused."""
        self._outdated.add(path)

    def read_many(self, paths: Sequence[str]) -> dict[str, Secret | KeyturnError]:
        """Each secret, or its error: in bulk where possible."""
        answers: dict[str, Secret | KeyturnError] = {**self._in_bulk(paths)} if len(paths) > 1 else {}
        others = [path for path in paths if path not in answers]
        if others:
            with ThreadPoolExecutor(THREADS, "keyturn-client") as pool:
                answers |= zip(others, pool.map(self._answer, others), strict=True)
        return answers

    def _answer(self, path: str) -> Secret | KeyturnError:
        try:
            return self.miss(path)
        except KeyturnError as error:
            return error

    def _in_bulk(self, paths: Sequence[str]) -> dict[str, Secret]:
        self._peers.join()
        began = self.cache.floors.clock()
        read = self._take({path: self.oldest(path) for path in paths}, began)
        missing = [path for path in paths if path not in read]
        served = self._failover().read_many(missing, partial(self._admits, began)) if missing else {}
        read |= {path: secret for path, secret in served.items() if self.cache.put(secret, self._clock(), began)}
        for secret in read.values():
            self._watches.saw(secret)
        return read

    def promise(self, path: str) -> None:
        """Detach a read in progress after a promise, so that later callers do not wait for it."""
        with self._lock:
            self._flights.pop(path, None)

    def _saw_later(self, secret: Secret) -> None:
        """Call the watches in the background."""
        if secret.path in self._watches:
            self._keeper.later(partial(self._watches.saw, secret))

    def _fly(self, path: str, since: datetime, flight: Future[Secret]) -> Secret:
        try:
            secret = self._admitted(path, since)
        except BaseException as error:
            self._statistics.count(Event.ERROR)
            flight.set_exception(error)
            raise
        else:
            flight.set_result(secret)
            return secret
        finally:
            with self._lock:
                if self._flights.get(path) is flight:
                    del self._flights[path]

    def _admitted(self, path: str, since: datetime) -> Secret:
        self._peers.join()
        for tries in range(TRIES, 0, -1):
            began = self.cache.floors.clock()
            if shared := self._take({path: since}, began):
                return shared[path]
            try:
                secret = self._failover().read(path, partial(self._admits, began))
            except KeyturnError as error:
                # It may describe the state before a notice that arrived meanwhile.
                if began != self.cache.floors.clock() and tries > 1:
                    continue
                if isinstance(error, NotFound | Denied):
                    self.cache.put_absence(path, error, self._clock())
                    self._outdated.discard(path)
                raise
            if self.cache.put(secret, self._clock(), began):
                self._outdated.discard(path)
                return secret
        raise lagging(secret)

    def _take(self, wanted: Mapping[str, datetime], began: int) -> dict[str, Secret]:
        """The secrets that other processes have read, with their age."""
        taken: dict[str, Secret] = {}
        for path, secret in self._peers.take(wanted).items():
            if self.cache.put(secret, self._clock() - max(0.0, secret.age()), began):
                self._statistics.count(Event.SHARED)
                self._outdated.discard(path)
                taken[path] = secret
        return taken

    def _admits(self, began: int, secret: Secret) -> bool:
        self._statistics.count(Event.READ)
        return self.cache.floors.admits(secret, self._clock(), began)
