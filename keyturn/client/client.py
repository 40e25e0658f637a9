"""Secrets for a program that asks for them all the time: from memory while that is right, and from their sources else.

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
from keyturn.client.patterns import expand
from keyturn.client.peers import ALONE, Peers
from keyturn.client.policy import LEASE_TTL, CachePolicy, Policies
from keyturn.client.reader import Reader
from keyturn.client.secrets import Secret, SecretSource
from keyturn.client.statistics import Event, Statistics
from keyturn.client.watches import Callback, Watches
from keyturn.client.webhooks.notices import Promises
from keyturn.core.errors import Invalid, KeyturnError, NotFound
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.client.credentials import Credential
    from keyturn.client.host.group import HostGroup
    from keyturn.client.posts import AccessPosts
    from keyturn.core.ports.engines import Lessor

DEFAULT: Final = CachePolicy()

Sources = Sequence[SecretSource] | Callable[[], Sequence[SecretSource]]


class SecretClient:
    """Reads secrets from the first of ``sources`` that answers, and keeps them for as long as their policy says.

    ``policies`` are for paths that fit a pattern (``payments/**``), the first that fits; ``policy`` is for all others.
    Every ``poll`` seconds the source is asked whether what is in use has another version, 0 for never: a backstop for
    notices that did not arrive. ``patience`` is for how many seconds a source may lag behind a notice. Processes of one
    ``host`` group share notices and reads. Serves many threads. A child that was forked begins with nothing kept; it
    may read where ``sources`` are given as a function, which opens them anew there. ``offline`` keeps what a restart
    would lose. ``posts`` tells of what was read from a source.
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
        """The secret, from memory where it is kept.

        Raises NotFound and Denied, and what sources raise where nothing is kept that may be given instead.
        """
        return self._cache.hot[path]

    def kept(self, path: str) -> Secret | None:
        """The secret where it may be given at once; None where it has to be looked for."""
        return dict.get(self._cache.hot, path)

    def get_json(self, path: str) -> dict[str, Any]:
        """All fields in clear, with their JSON types."""
        return self.get(path).fields.reveal()

    def field(self, path: str, name: str) -> Sensitive:
        """One field. Raises NotFound where the secret has none of that name."""
        return self.get(path).field(name)

    def get_many(self, paths: Iterable[str]) -> dict[str, Secret]:
        """Several secrets; those that are not kept are read in as few calls as their source allows.

        Raises the first error, once all others are read: they are kept, so that to ask again costs little.
        """
        answers: dict[str, Secret | KeyturnError | None] = {path: self.kept(path) for path in paths}
        answers |= self._reader.read_many([path for path, secret in answers.items() if secret is None])
        return dict(_given(answers))

    def refresh(self, path: str) -> Secret:
        """Read it now, whatever is kept; where no source can be asked, that is raised, and what is kept stays."""
        return self._reader.fresh(path)

    def warm(self, paths: Iterable[str]) -> None:
        """Read all of these before they are asked for. Raises the first error, once all others are read.

        A path may be a pattern, such as ``ml-training/*``, or ``payments/**`` for what lies deeper too. Raises Invalid
        where no source can list secrets, or more fit than are kept.
        """
        self.get_many(expand(paths, self._failover().below, self._limits[0]))

    def watch(self, path: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each version after the one that is served now; calling what is returned ends that.

        It is called by the thread that has read the new version, or by one of the client's own where the program waits
        for that. What it raises is logged by its class alone.
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
        """A dynamic credential of this process's own, such as of ``database/creds/ml-reader``; ``with`` gives it back.

        It is renewed for ``ttl`` seconds at a time, None for the role's default: so long it outlives a process that was
        killed. ``on_change`` is called when another has taken its place, as it does at the end of its longest life
        where it is to be ``replaced``, and when it has ended. Raises what the hub raises.
        """

        from keyturn.client.credentials import Credential

        def take(lessor: "Lessor") -> Credential:
            return Credential(lessor, path, ttl, replaced=replaced, on_change=on_change)

        return self._failover().lease(path, take)

    def told(self, notice: Notice) -> None:
        """Take a notice: what it has made old is let go of at once, and what is in use is read as it was promised.

        When it returns, no :meth:`get` that begins then gives what the notice has ended, in any process of the host's
        group. Raises what a source raises; where it lags, it is waited for; and Unavailable where a process that lives
        has not taken the notice. A revoked secret that nothing replaces is not given from then on, even by a source
        that still has it, which nobody waits for.
        """
        self._promises.told(notice)

    def hear(self, listener: Callable[[Notice], object]) -> Callable[[], None]:
        """Call it with each notice that another process of the host was told, once this one has taken it.

        What it raises holds the acknowledgement up; calling what is returned ends that. A pool does it by itself.
        """
        return self._promises.hear(listener)

    def in_force(self, notice: Notice) -> Secret | None:
        """What is to be used behind a notice; None where it was revoked and nothing has taken its place."""
        try:
            return self.get(notice.secret_path)
        except KeyturnError as error:
            if notice.replaced and not (notice.event == SECRET_REVOKED and isinstance(error, NotFound)):
                raise
            return None

    def tend(self) -> float | None:
        """Let go of what is old by now; the instant of the next time. A thread of the client's own calls it."""
        return self._cache.tick(self._clock())

    def policy_of(self, path: str) -> CachePolicy:
        """The policy that holds for a secret."""
        return self._policies.of(path)

    def secrets(self) -> list[Secret]:
        """All that is kept now, however old."""
        return self._cache.secrets()

    @property
    def size(self) -> int:
        """Bytes of the names and values that are kept, as UTF-8."""
        return self._cache.bytes

    @property
    def health(self) -> dict[str, KeyturnError | None]:
        """The sources that were opened, and how each has failed that did not answer when it was asked last."""
        return self._opened.health if self._opened else {}

    def close(self) -> None:
        """Keep nothing and read nothing any more."""
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
        # In the place of the method: a hit is then one call, of the map's own lookup.
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
                # Nobody asks for it any more, but somebody watches it.
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
