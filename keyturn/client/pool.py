"""A pool of connections that follows its secret without dropping one in use.

pool = SecretPool(client, "ml-training/database", connect, refused=(psycopg2.OperationalError,))
with pool.connection() as connection: ...
status = receiver.handle(headers, body, pool.told)
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from keyturn.client.client import SecretClient
from keyturn.client.renewer import Renewer
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice


class Closable(Protocol):
    """The interface of a connection."""

    def close(self) -> object:
        """Close it."""


C = TypeVar("C", bound=Closable)

Refusals = tuple[type[BaseException], ...]

TRIES: Final = 3
"""Attempts to borrow a connection while pools replace each other."""


class Retired(Exception):
    """These connections are no longer lent, because others replaced them."""


def connector(client: SecretClient, path: str, connect: Callable[[Secret], C], refused: Refusals) -> Callable[[], C]:
    """Return a function that opens a connection with the current secret, for any pool.

    After a refused login, it reads the secret again and tries a different one once.
    """
    renewer = Renewer(client, path)

    def open_connection() -> C:
        secret = client.get(path)
        try:
            return connect(secret)
        except refused:
            other = renewer.other_than(secret)
            if other is None:
                raise
            return connect(other)

    return open_connection


@dataclass(frozen=True)
class Held(Generic[C]):
    """A connection, and when it was opened by :func:`time.monotonic`."""

    connection: C
    opened_at: float = field(default_factory=time.monotonic)


class Connections(Generic[C]):
    """At most ``size`` connections of one credential, opened on demand. Thread-safe.

    One that is closed or older than ``lifetime`` seconds is not lent again.
    """

    def __init__(self, connect: Callable[[], C], size: int, lifetime: float) -> None:
        self._connect = connect
        self._size = size
        self._lifetime = lifetime
        self._idle: list[Held[C]] = []
        self._lent = 0
        self._retired = False
        self._changed = threading.Condition()

    def borrow(self) -> Held[C]:
        """Borrow a connection, to be given back. Raises Retired, and the errors of ``connect``."""
        idle = self._claim()
        if idle and self._fit(idle):
            return idle
        try:
            if idle:
                idle.connection.close()
            return Held(self._connect())
        except BaseException:
            self.give_back(None)
            raise

    def give_back(self, held: Held[C] | None) -> None:
        """Make the connection available again."""
        with self._changed:
            self._lent -= 1
            if held and (self._retired or not self._fit(held)):
                held.connection.close()
            elif held:
                self._idle.append(held)
            self._changed.notify_all()

    def retire(self, patience: float) -> None:
        """Stop lending, and close all; wait ``patience`` seconds for lent ones, which are closed when given back."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()
            while self._idle:
                self._idle.pop().connection.close()
            self._changed.wait_for(lambda: not self._lent, patience)

    def _claim(self) -> Held[C] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._retired or self._lent < self._size)
            if self._retired:
                raise Retired
            self._lent += 1
            return self._idle.pop() if self._idle else None

    def _fit(self, held: Held[C]) -> bool:
        closed = getattr(held.connection, "closed", False)
        return not closed and time.monotonic() - held.opened_at < self._lifetime


class SecretPool(Generic[C]):
    """Lends connections that ``connect`` opens with the secret at ``path``, at most ``size`` at a time.

    After a refused login, which raises one of ``refused``, the secret is read again. If a connection with a new version
    works, it replaces all others. Those in use have ``patience`` seconds, and are closed when given back. Thread-safe.
    """

    def __init__(
        self,
        client: SecretClient,
        path: str,
        connect: Callable[[Secret], C],
        *,
        refused: Refusals,
        size: int = 4,
        lifetime: float = 3600.0,
        patience: float = 5.0,
    ) -> None:
        self._client = client
        self._path = path
        self._connect = connect
        self._refused = refused
        self._limits = (size, lifetime)
        self._patience = patience
        self._replacing = threading.Lock()
        self._closed = False
        self._renewer = Renewer(client, path)
        self.replaced = 0
        """How often all connections were replaced."""
        self._secret = client.get(path)
        self._connections = self._opened(self._secret)
        self._unwatch = client.watch(path, self._follow)
        self._unhear = client.hear(self.told)

    @property
    def secret(self) -> Secret:
        """The version of the secret whose connections are lent."""
        return self._secret

    @contextmanager
    def connection(self) -> Iterator[C]:
        """Lend a connection. Raises the errors of ``connect``, and the client's."""
        connections, held = self._borrow()
        try:
            yield held.connection
        finally:
            connections.give_back(held)

    def told(self, notice: Notice) -> None:
        """Take a notice, and return once the lent connections use the promised version.

        Raises the errors of ``connect`` where that does not work; the previous connections then stay.
        """
        self._client.told(notice)
        if notice.secret_path == self._path:
            self._settle(notice)

    def close(self) -> None:
        """Stop lending; connections in use are closed when given back."""
        self._unwatch()
        self._unhear()
        self._closed = True
        self._connections.retire(0)

    def _settle(self, notice: Notice) -> None:
        ended = notice.event == SECRET_REVOKED
        secret = self._client.in_force(notice)
        if secret is None:
            self._connections.retire(self._patience)
            return
        try:
            with self._replacing:
                self._use(secret, anew=ended)
        except self._refused:
            # A new version may start to work later. A revoked one never works again.
            if not ended or secret.fields != self._secret.fields:
                raise
            self._connections.retire(self._patience)

    def _follow(self, secret: Secret) -> None:
        with self._replacing:
            self._use(secret)

    def _borrow(self) -> tuple[Connections[C], Held[C]]:
        for tries in range(TRIES, 0, -1):
            connections = self._connections
            try:
                return connections, connections.borrow()
            except Retired:
                if self._closed or (tries == 1 and connections is self._connections):
                    raise self._retired() from None
                self._heal(connections)
            except self._refused:
                if tries == 1 or not self._heal(connections):
                    raise
        raise self._retired()

    def _retired(self) -> Retired:
        problem = "the pool was closed" if self._closed else "the secret was revoked, and nothing has taken its place"
        return Retired(f"no connection of {self._path} is lent: {problem}")

    def _heal(self, failed: Connections[C]) -> bool:
        """Whether connections of a different secret than the refused one are lent."""
        # The read is outside the lock, because the process that reads for all may wait for that lock.
        if self._connections is failed and (secret := self._renewer.other_than(self._secret)):
            with self._replacing:
                if self._connections is failed:
                    self._use(secret)
        return self._connections is not failed

    def _use(self, secret: Secret, *, anew: bool = False) -> None:
        """Lend connections of this secret; replace those of an equal one only with ``anew``."""
        if self._closed or (secret.fields == self._secret.fields and not anew):
            self._secret = secret
            return
        fresh = self._opened(secret)
        fresh.give_back(fresh.borrow())
        retiring, self._connections = self._connections, fresh
        self.replaced += secret.fields != self._secret.fields
        self._secret = secret
        retiring.retire(self._patience)

    def _opened(self, secret: Secret) -> Connections[C]:
        return Connections(partial(self._connect, secret), *self._limits)
