"""A pool of database connections that can be retired while queries still run on it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psycopg2.extensions

SIZE: Final = 4
LIFETIME: Final = 1.0
"""Seconds after which a connection is opened anew, so that the credential itself is tried all the time:
a server asks for it at the login and never again."""


class Retired(Exception):
    """The pool lends no more; a newer one has taken its place."""


@dataclass(frozen=True)
class Held:
    """A connection and when it was opened."""

    connection: "psycopg2.extensions.connection"
    opened_at: float = field(default_factory=time.monotonic)

    @property
    def fit(self) -> bool:
        """Whether it may serve another query."""
        return not self.connection.closed and time.monotonic() - self.opened_at < LIFETIME


class Pool:
    """At most ``SIZE`` connections, opened by ``connect`` when they are wanted, for many threads."""

    def __init__(self, connect: "Callable[[], psycopg2.extensions.connection]") -> None:
        self._connect = connect
        self._idle: list[Held] = []
        self._lent = 0
        self._retired = False
        self._changed = threading.Condition()

    @contextmanager
    def connection(self) -> "Iterator[psycopg2.extensions.connection]":
        """Lend a connection. Raises Retired, and whatever ``connect`` raises."""
        held = self._borrow()
        try:
            yield held.connection
        finally:
            self._settle(held)

    def retire(self, patience: float) -> None:
        """Lend no more, let running queries finish for ``patience`` seconds, and close every connection.

        One that is lent for longer is closed when it comes back.
        """
        with self._changed:
            self._retired = True
            while self._idle:
                self._idle.pop().connection.close()
            self._changed.wait_for(lambda: not self._lent, patience)

    def _borrow(self) -> Held:
        held = self._take()
        if held and held.fit:
            return held
        try:
            if held:
                held.connection.close()
            return Held(self._connect())
        except BaseException:
            self._settle(None)
            raise

    def _take(self) -> Held | None:
        """Claim a place among the ``SIZE``, and an idle connection if there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._retired or self._lent < SIZE)
            if self._retired:
                raise Retired
            self._lent += 1
            return self._idle.pop() if self._idle else None

    def _settle(self, held: Held | None) -> None:
        with self._changed:
            self._lent -= 1
            if held and self._retired:
                held.connection.close()
            elif held:
                self._idle.append(held)
            self._changed.notify_all()
