"""The application: it queries without pause, and moves to a new credential when it is told of one."""

import threading
from functools import partial
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection

from keyturn.client.client import SecretClient
from keyturn.client.pool import Retired, SecretPool
from keyturn.client.secrets import SecretSource
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notices import Notice
from local.consumer import database
from local.consumer.stats import Stats

WORKERS: Final = 2
PAUSE: Final = 0.02
"""Seconds between two queries of one worker."""

SIZE: Final = 4
LIFETIME: Final = 1.0
"""Seconds after which a connection is opened anew, so that the credential itself is tried all the time:
a server asks for it at the login and never again."""

PATIENCE: Final = 5.0
"""Seconds that a lagging copy is waited for, and that running queries are given to finish."""


class Application:
    """Lives on the credential at ``path`` in ``source``."""

    def __init__(self, name: str, source: SecretSource, path: str, address: database.Address) -> None:
        self.name = name
        self.path = path
        self.stats = Stats()
        self._client = SecretClient([source], poll=0, patience=PATIENCE)
        self._connect = partial(address.connect, name)
        self._stopping = threading.Event()
        self._workers = [threading.Thread(target=self._work, args=(f"{name}-{n}",)) for n in range(WORKERS)]

    def start(self) -> None:
        """Read the credential, log in, and begin to query. Raises KeyturnError and psycopg2.Error."""
        self._pool: SecretPool[Connection] = SecretPool(
            self._client,
            self.path,
            self._connect,
            refused=(psycopg2.OperationalError,),
            size=SIZE,
            lifetime=LIFETIME,
            patience=PATIENCE,
        )
        self._statement = database.choose_statement(self._pool, self.name)
        self.stats.query_served()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Finish the running queries and close the connections."""
        self._stopping.set()
        for worker in self._workers:
            worker.join()
        self._pool.close()
        self._client.close()

    def follow(self, notice: Notice) -> None:
        """Use the secret at the version promised; returns when nothing uses an older one any more.

        Where a revocation has put nothing in its place, nothing of it is used from then on. Raises KeyturnError where
        it can't be read, psycopg2.Error where a new one does not work: the old pool stays.
        """
        if notice.secret_path == self.path:
            self._pool.told(notice)
        else:
            self._read_other(notice)
        self.stats.settled(notice)

    def shown(self) -> dict[str, Any]:
        """What it did and what it uses, without a value."""
        secret = self._pool.secret
        return {
            "name": self.name,
            "source": secret.source,
            "username": secret["username"].reveal(),
            "version": secret.version,
            "rotated_at": secret.made_at.isoformat() if secret.made_at else None,
            "reloads": self._pool.replaced,
            **self.stats.shown(),
        }

    def _read_other(self, notice: Notice) -> None:
        self._client.told(notice)
        self._client.in_force(notice)

    def _work(self, worker: str) -> None:
        while not self._stopping.wait(PAUSE):
            try:
                database.run(self._pool, self._statement, worker)
            except (psycopg2.Error, KeyturnError, Retired) as error:
                self.stats.query_failed(error)
            else:
                self.stats.query_served()
