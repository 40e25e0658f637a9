"""Secrets for a program that reads them often, from memory or their sources.

client = SecretClient([HubSource(hub), StoreSource(aws)])
password = client.get("ml-training/database")["password"].reveal()
receiver.handle(headers, body, client.told)
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from keyturn.client.cache import Cache
from keyturn.client.clock import elapsed
from keyturn.client.failover import Failover
from keyturn.client.keeper import Keeper
from keyturn.client.offline.port import NOTHING_OFFLINE, Offline
from keyturn.client.peers import ALONE, Peers
from keyturn.client.policy import LEASE_TTL, CachePolicy, Policies
from keyturn.client.reader import Reader
from keyturn.client.secrets import Secret, SecretSource
from keyturn.client.statistics import Event, Statistics
from keyturn.client.watches import Callback, Watches
from keyturn.client.webhooks.notices import Promises
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.mounts import EVERY, join
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.path_patterns import apart, covers, has_stars_beside

if TYPE_CHECKING:
    from keyturn.client.credentials import Credential
    from keyturn.client.host.group import HostGroup
    from keyturn.client.posts import AccessPosts
    from keyturn.core.ports.engines import Lessor


def expand(paths: Iterable[str], below: Callable[[str], Sequence[str]], most: int) -> list[str]:
    """The paths, with patterns expanded; ``below`` lists a folder. Raises Invalid above ``most``.

    A path without a pattern stays, whether it exists or not.
    """
    expanded = dict.fromkeys(each for path in paths for each in (_fitting(path, below) if "*" in path else [path]))
    if len(expanded) > most:
        problem = f"it is {len(expanded)} secrets, and {most} are kept"
        raise Invalid("warm", "secrets", problem, "Name fewer, or give SecretClient a larger max_entries")
    return [*expanded]


def _fitting(pattern: str, below: Callable[[str], Sequence[str]]) -> list[str]:
    if has_stars_beside(pattern):
        raise Invalid("list", pattern, "** is combined with something else", "Write it alone between slashes: prod/**")
    if apart(pattern)[0] == EVERY:
        raise Invalid("list", pattern, "it means every mount", "Name each mount: payments:**")
    return sorted(path for path in below(_folder(pattern)) if covers(pattern, path))


def _folder(pattern: str) -> str:
    """The folder of all matches, with the mount's name."""
    mount, within = apart(pattern)
    return join(mount, within[: within.index("*")].rpartition("/")[0])


DEFAULT: Final = CachePolicy()

Sources = Sequence[SecretSource] | Callable[[], Sequence[SecretSource]]


class SecretClient:
    """Reads secrets from the first of ``sources`` that answers, and keeps them as their policy allows. Thread-safe.

    The first matching pattern in ``policies`` (``payments/**``) applies, otherwise ``policy``. Every ``poll`` seconds,
    0 for never, the source is asked for new versions, in case notices were lost. A source may lag behind a notice by
    ``patience`` seconds. Processes of one ``host`` group share notices and reads. A forked child starts empty, and may
    read only where ``sources`` is a function.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        policy: CachePolicy = DEFAULT,
        policies: Mapping[str, CachePolicy] | None = None,
        max_entries: int = 1000,
        max_bytes: int = 64 * 2**20,
        poll: float = 60.0,
        patience: float = 5.0,
        host: "HostGroup | None" = None,
        offline: Offline = NOTHING_OFFLINE,
        posts: "AccessPosts | None" = None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self.statistics = Statistics()
        self._sources = sources
        self._policies = Policies(policies or {}, policy)
        self._limits = (max_entries, max_bytes)
        self._poll = poll
        self._patience = patience
        self._host = host
        self._offline = offline
        self._posts = posts
        self._clock = clock
        self._watches = Watches()
        self._listeners: list[Callable[[Notice], object]] = []
        self._opened_in = 0 if callable(sources) else os.getpid()
        self._begin()
        os.register_at_fork(after_in_child=_beginning_of(weakref.ref(self)))

    def get(self, path: str) -> Secret:
        """Return the secret, from memory where it is kept.

        Raises NotFound, Denied, and a source's error where no kept secret may be given.
        """
        return self._cache.hot[path]

    def kept(self, path: str) -> Secret | None:
        """The secret where it may be given without a read; otherwise None."""
        return dict.get(self._cache.hot, path)

    def get_json(self, path: str) -> dict[str, Any]:
        """All fields in clear, with their JSON types."""
        return self.get(path).fields.reveal()

    def field(self, path: str, name: str) -> Sensitive:
        """One field. Raises NotFound where there is none of that name."""
        return self.get(path).field(name)

    def get_many(self, paths: Iterable[str]) -> dict[str, Secret]:
        """Several secrets; missing ones are read in as few calls as possible.

        Raises the first error after reading all others.
        """
        answers: dict[str, Secret | KeyturnError | None] = {path: self.kept(path) for path in paths}
        answers |= self._reader.read_many([path for path, secret in answers.items() if secret is None])
        return dict(_given(answers))

    def refresh(self, path: str) -> Secret:
        """Read the secret now. Where no source answers, that is raised, and the kept secret stays."""
        return self._reader.fresh(path)

    def warm(self, paths: Iterable[str]) -> None:
        """Read all of these in advance. Raises the first error after reading all others.

        A path may be a pattern: ``ml-training/*``, or ``payments/**`` for any depth. Raises Invalid where no source can
        list, or above ``max_entries``.
        """
        self.get_many(expand(paths, self._failover().below, self._limits[0]))

    def watch(self, path: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each later version, until the returned function is called.

        The reading thread calls it, or a thread of the client where the program waits for the read. An exception is
        logged by its class only.
        """
        return self._watches.add(self.get(path), callback)

    def lease(
        self,
        path: str,
        *,
        ttl: float | None = LEASE_TTL,
        replaced: bool = True,
        on_change: "Callable[[Credential], object] | None" = None,
    ) -> "Credential":
        """Take a dynamic credential for this process, such as ``database/creds/ml-reader``, to use in a ``with`` block.

        It is renewed for ``ttl`` seconds at a time, None for the role's default, and outlives a killed process that
        long. ``on_change`` is called when it ends or is ``replaced``. Raises the hub's errors.
        """

        from keyturn.client.credentials import Credential

        def take(lessor: "Lessor") -> Credential:
            return Credential(lessor, path, ttl, replaced=replaced, on_change=on_change)

        return self._failover().lease(path, take)

    def told(self, notice: Notice) -> None:
        """Apply a notice: drop old secrets, and read those in use at the promised version.

        No :meth:`get` that begins after the return gives what the notice has ended, in any process of the host's group.
        Waits for a lagging source, and raises its errors. Raises Unavailable where a living process has not taken the
        notice. A revoked secret without a replacement is not given again, and its source is not waited for.
        """
        self._promises.told(notice)

    def hear(self, listener: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``listener`` with each notice of the host's other processes, after applying it.

        An exception delays the acknowledgement. The returned function ends the calls. A pool registers itself.
        """
        return self._promises.hear(listener)

    def in_force(self, notice: Notice) -> Secret | None:
        """The secret to use after a notice; None if revoked without a replacement."""
        try:
            return self.get(notice.secret_path)
        except KeyturnError as error:
            if notice.replaced and not (notice.event == SECRET_REVOKED and isinstance(error, NotFound)):
                raise
            return None

    def tend(self) -> float | None:
        """Drop expired secrets, and return the instant of the next call."""
        return self._cache.tick(self._clock())

    def policy_of(self, path: str) -> CachePolicy:
        """The policy of a secret."""
        return self._policies.of(path)

    def secrets(self) -> list[Secret]:
        """All kept secrets, however old."""
        return self._cache.secrets()

    @property
    def size(self) -> int:
        """Bytes of the kept names and values, as UTF-8."""
        return self._cache.bytes

    @property
    def health(self) -> dict[str, KeyturnError | None]:
        """The opened sources, each with the error of its last call, if any."""
        return self._opened.health if self._opened else {}

    def close(self) -> None:
        """Drop all secrets and stop reading."""
        self._closed = True
        self._keeper.stop()
        self._cache.clear()
        self._peers.leave()
        self._offline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._closed = False
        self._opening = threading.Lock()
        self._opened: Failover | None = None
        self._peers: Peers = self._host.open() if self._host else ALONE
        self._keeper = Keeper(self.tend, self._renew, self._ask, self._poll, self._clock)
        self._reader = Reader(self._failover, self.statistics, self._clock, self._keeper, self._watches, self._peers)
        self._cache = Cache(self._reader.miss, self.policy_of, *self._limits, self._keeper.wake, offline=self._offline)
        self._reader.cache = self._cache
        self._promises = Promises(
            self._cache,
            self._reader,
            self._watches,
            self._peers,
            self.statistics,
            self._listeners,
            self._patience,
            self._clock,
        )
        self._offline.begin(self._cache, self.statistics, self._recall)
        self._peers.serve(self._promises)
        # Replaces the method, so that a hit is one call of the map's lookup.
        self.get = self._cache.hot.__getitem__  # type: ignore[method-assign, assignment]

    def _failover(self) -> Failover:
        if self._closed:
            raise Invalid("read", "secrets", "the client was closed", "Make another one")
        with self._opening:
            if self._opened is None:
                sources = self._open()
                self._opened = Failover(self._posts.reporting(sources) if self._posts else sources, self._clock)
            return self._opened

    def _open(self) -> Sequence[SecretSource]:
        if callable(self._sources):
            return self._sources()
        if self._opened_in == os.getpid():
            return self._sources
        problem = "the process was forked after its sources were opened, and two can't share their connections"
        raise Invalid(
            "read", "secrets", problem, "Give SecretClient a function that opens them, or make it in the child"
        )

    def _recall(self, notice: Notice, remaining: float) -> None:
        if self._promises.recall(notice, remaining):
            self._keeper.renew(notice.secret_path)

    def _renew(self, path: str) -> None:
        self.statistics.count(Event.RENEWAL)
        self._reader.read(path)

    def _ask(self) -> None:
        paths = list(dict.fromkeys((*self._cache.paths(), *self._watches.paths())))
        if not paths:
            return
        source, revisions = self._failover().versions(paths)
        for path in paths:
            held = self._cache.held(path)
            if held and held.source == source and revisions.get(path) != held.revision:
                self._reader.outdated(path)
                self._keeper.renew(path)
            elif held is None and path in self._watches and path in revisions:
                # No caller asks for it any more, but a watch exists.
                self._keeper.renew(path)


def _given(answers: Mapping[str, Secret | KeyturnError | None]) -> Iterator[tuple[str, Secret]]:
    for path, answer in answers.items():
        if isinstance(answer, KeyturnError):
            raise answer
        if answer:
            yield path, answer


def _beginning_of(client: "weakref.ref[SecretClient]") -> Callable[[], None]:
    def begin() -> None:
        if living := client():
            living._peers.abandon()
            living._begin()

    return begin
