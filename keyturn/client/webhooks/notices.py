"""Applies notices in the host's processes: drops what they ended, and reads it again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.client.cache import Cache
from keyturn.client.peers import Peers
from keyturn.client.reader import Reader
from keyturn.client.secrets import Secret
from keyturn.client.statistics import Event, Statistics
from keyturn.client.watches import Watches
from keyturn.core.errors import KeyturnError, NotFound, TransientError, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice

PAUSE: Final = 0.05
"""Seconds between two reads of a source that lags."""

Listener = Callable[[Notice], object]

LIMIT: Final = 4000
"""The limit of remembered notices, one for each secret."""


@dataclass(frozen=True, slots=True)
class Pledge:
    """A notice, and until when it counts by the client's clock.

    ``used``: the secret was in use. ``versioned``: its source reported a version, otherwise the wait starts at
    ``taken``.
    """

    notice: Notice
    taken: float
    until: float
    used: bool
    versioned: bool

    @property
    def to_be_read(self) -> bool:
        """Whether a replacement has to be read before the acknowledgement."""
        return self.used and self.notice.replaced

    def covers(self, notice: Notice) -> bool:
        """Whether this is that notice, or a later one."""
        return self.notice.covers(notice)


class Promises:
    """Applies notices, with sources that may lag by ``patience`` seconds. Thread-safe."""

    def __init__(
        self,
        cache: Cache,
        reader: Reader,
        watches: Watches,
        peers: Peers,
        statistics: Statistics,
        listeners: list[Listener],
        patience: float,
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._watches = watches
        self._peers = peers
        self._statistics = statistics
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._pledges: OrderedDict[str, Pledge] = OrderedDict()
        self._bulk = threading.Lock()
        self._listeners = listeners
        self._hearing = threading.local()

    def told(self, notice: Notice) -> None:
        """Take a notice, and return once every process of the host has. Raises the errors of sources and processes.

        Does nothing for a listener's call with the notice that it is hearing.
        """
        if getattr(self._hearing, "notice", None) == notice:
            return
        self._statistics.count(Event.NOTICE)
        floor_ttl = self._cache.policy_of(notice.secret_path).floor_ttl
        pledge = self._pledge(notice, floor_ttl)
        self._cache.offline.note(notice, floor_ttl)
        with self._peers.tell(notice, floor_ttl) as wait:
            try:
                self._read(pledge)
            finally:
                wait()

    def heard(self, notice: Notice) -> None:
        """Take a notice that another process received."""
        self._statistics.count(Event.NOTICE)
        floor_ttl = self._cache.policy_of(notice.secret_path).floor_ttl
        pledge = self._pledge_once(notice, floor_ttl)
        self._cache.offline.note(notice, floor_ttl)
        self._read(pledge)
        self._hearing.notice = notice
        try:
            for listener in [*self._listeners]:
                listener(notice)
        finally:
            self._hearing.notice = None

    def hear(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with each notice of another process, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._remove(listener)

    def promise(self, notice: Notice, remaining: float) -> None:
        """See :meth:`Local.promise`."""
        self._pledge_once(notice, remaining)
        # The process that received it first has noted it; if not, this process no longer gives the secret from the
        # file.
        with suppress(Unavailable):
            self._cache.offline.note(notice, remaining)

    def recall(self, notice: Notice, remaining: float) -> bool:
        """Apply a notice that is noted already; whether it is new, and the secret in use."""
        before = self._pledges.get(notice.secret_path)
        pledge = self._pledge_once(notice, remaining)
        return pledge is not before and pledge.to_be_read

    def promised(self, paths: Sequence[str]) -> list[tuple[Notice, float]]:
        """See :meth:`Local.promised`."""
        now = self._clock()
        with self._lock:
            pledges = [self._pledges[path] for path in paths or self._pledges if path in self._pledges]
        return [(pledge.notice, pledge.until - now) for pledge in pledges if pledge.until > now]

    def give(self, wanted: Mapping[str, datetime], notices: Sequence[tuple[Notice, float]]) -> Mapping[str, Secret]:
        """See :meth:`Local.give`. Secrets without a version are left out, because their age can't be compared."""
        for notice, remaining in notices:
            self.promise(notice, remaining)
        if len(wanted) > 1:
            self._read_many(wanted)
        answer = {path: self._given(path, since) for path, since in wanted.items()}
        return {path: secret for path, secret in answer.items() if secret and secret.version and not secret.stale}

    def saw(self, secret: Secret) -> None:
        """See :meth:`Local.saw`."""
        self._watches.saw(secret)

    def _remove(self, listener: Listener) -> None:
        with suppress(ValueError):
            self._listeners.remove(listener)

    def _pledge(self, notice: Notice, remaining: float) -> Pledge:
        path, now = notice.secret_path, self._clock()
        until = now + remaining
        with self._lock:
            held, before = self._cache.held(path), self._pledges.get(path)
            before = before if before and before.until > now else None
            repeated = before if before and before.covers(notice) else None
            # A secret in use at one notice is still in use at the next, even if no read succeeded in between.
            used = held is not None or path in self._watches or bool(before and before.used)
            versioned = bool(held and held.version) or bool(before and before.versioned)
            pledge = Pledge(notice, repeated.taken if repeated else now, until, used, versioned)
            self._cache.promise(path, notice.oldest_served, notice.timestamp, until)
            self._reader.promise(path)
            if not repeated:
                self._pledges[path] = pledge
                self._pledges.move_to_end(path)
            while len(self._pledges) > LIMIT:
                self._pledges.popitem(last=False)
        return pledge

    def _pledge_once(self, notice: Notice, remaining: float) -> Pledge:
        """Apply a notice once, so that a repeat drops nothing."""
        with self._lock:
            pledge = self._pledges.get(notice.secret_path)
        if pledge and pledge.covers(notice) and pledge.until > self._clock():
            return pledge
        return self._pledge(notice, remaining)

    def _read(self, pledge: Pledge) -> None:
        """Read until the promised version is served; a versioned source may report none during a write.

        A source without versions is waited for once only.
        """
        path, deadline = pledge.notice.secret_path, self._clock() + self._patience
        if self._clock() > pledge.taken + self._patience:
            self._cache.settle(path)
        while pledge.to_be_read:
            try:
                held = self._cache.held(path)
                secret = held if held and held.version else self._reader.fresh(path, self._reader.oldest(path))
                if secret.version or not pledge.versioned or self._clock() >= deadline:
                    return
            except TransientError:
                if self._clock() >= deadline:
                    raise
            except NotFound:
                if pledge.notice.event == SECRET_REVOKED:
                    return
                raise
            time.sleep(PAUSE)

    def _given(self, path: str, since: datetime) -> Secret | None:
        secret = self._cache.held(path)
        if secret and secret.read_at > since and not secret.stale:
            return secret
        try:
            return self._reader.fetch(path, since)
        except KeyturnError:
            return None

    def _read_many(self, wanted: Mapping[str, datetime]) -> None:
        """Read all missing secrets in one call, shared by concurrent processes."""
        with self._bulk:
            missing = [path for path in wanted if self._cache.held(path) is None]
            if len(missing) > 1:
                self._reader.read_many(missing)
