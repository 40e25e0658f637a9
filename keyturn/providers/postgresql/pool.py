"""psycopg2's own pool on a rotated secret; connections in use are never dropped.

pool = SecretThreadedPool(client, "ml-training/database", 1, 8, host="db.example", dbname="ml")
connection = pool.getconn()
"""

import threading
from collections.abc import Hashable
from typing import Any

import psycopg2
from psycopg2.extensions import connection as PostgresConnection
from psycopg2.pool import ThreadedConnectionPool

from keyturn.client.client import SecretClient
from keyturn.client.renewer import Renewer
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice


class SecretThreadedPool(ThreadedConnectionPool):
    """A pool for many threads whose connections log in with the secret at ``path``.

    ``settings`` are those of :func:`psycopg2.connect` except user and password: the secret's ``username`` and
    ``password``. A refused login is retried once with the secret read again. When a connection is requested, a changed
    secret is tried. If it works, idle connections are closed, and those in use on return.
    """

    _kwargs: dict[str, Any]
    _lock: threading.Lock
    _pool: list[PostgresConnection]
    _used: dict[Hashable, PostgresConnection]
    _rused: dict[int, Hashable]

    def __init__(self, client: SecretClient, path: str, minconn: int, maxconn: int, **settings: Any) -> None:
        self._client = client
        self._path = path
        self._renewer = Renewer(client, path)
        self._secret = client.get(path)
        self._current = set[int]()
        super().__init__(minconn, maxconn, **settings)
        self._unhear = client.hear(self.told)

    def told(self, notice: Notice) -> None:
        """Handle a notice; returns once idle connections use the version that it promised.

        Raises psycopg2's error if the new version fails: the existing connections stay.
        """
        self._client.told(notice)
        if notice.secret_path != self._path:
            return
        secret = self._client.in_force(notice)
        with self._lock:
            if secret:
                self._adopt(secret, anew=notice.event == SECRET_REVOKED)
            else:
                self._close_idle()

    def closeall(self) -> None:
        self._unhear()
        super().closeall()

    def _adopt(self, secret: Secret, *, anew: bool = False) -> None:
        if anew or secret.fields != self._secret.fields:
            fresh = self._log_in(secret)
            self._close_idle()
            self._secret = secret
            self._current.add(id(fresh))
            self._pool.append(fresh)

    def _close_idle(self) -> None:
        self._current.clear()
        while self._pool:
            self._pool.pop().close()

    def _log_in(self, secret: Secret) -> PostgresConnection:
        # Not in psycopg2's settings, where the pool would keep the password.
        user, password = secret["username"].reveal(), secret["password"].reveal()
        connection: PostgresConnection = psycopg2.connect(**self._kwargs, user=user, password=password)
        return connection

    def _connect(self, key: Hashable | None = None) -> PostgresConnection:
        try:
            connection = self._log_in(self._secret)
        except psycopg2.OperationalError:
            other = self._renewer.other_than(self._secret)
            if other is None:
                raise
            connection = self._log_in(other)
            self._close_idle()
            self._secret = other
        self._current.add(id(connection))
        if key is None:
            self._pool.append(connection)
        else:
            self._used[key], self._rused[id(connection)] = connection, key
        return connection

    def _getconn(self, key: Hashable | None = None) -> PostgresConnection:
        try:
            self._adopt(self._client.get(self._path))
        except psycopg2.OperationalError:
            if not self._pool:
                raise
        connection: PostgresConnection = super()._getconn(key)  # type: ignore[misc]
        return connection

    def _putconn(self, conn: PostgresConnection, key: Hashable | None = None, close: bool = False) -> None:
        super()._putconn(conn, key, close or id(conn) not in self._current)  # type: ignore[misc]
        if conn.closed:
            self._current.discard(id(conn))
