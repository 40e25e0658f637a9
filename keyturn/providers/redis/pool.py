"""redis-py's own pool on a rotated secret; connections in use are never dropped.

pool = SecretConnectionPool(client, "ml-training/cache", host="redis.example", connection_class=redis.SSLConnection)
cache = redis.Redis(connection_pool=pool)
status = receiver.handle(headers, body, pool.told)
"""

import asyncio
from typing import Any

from redis import Connection, ConnectionPool
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from keyturn.client.client import SecretClient
from keyturn.client.renewer import Renewer
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice


class SecretCredentials(CredentialProvider):
    """redis-py's current login: ``redis.Redis(credential_provider=...)``, also for clusters and asyncio.

    The user is the field ``username``, or Redis's default one. It does not retry: :class:`SecretConnectionPool` does.
    """

    def __init__(self, client: SecretClient, path: str) -> None:
        self._client = client
        self._path = path
        self._renewer = Renewer(client, path)

    @property
    def secret(self) -> Secret:
        return self._client.get(self._path)

    def get_credentials(self) -> tuple[str, str]:
        secret = self.secret
        user = secret.fields.get("username")
        return user.reveal() if user else "default", secret.field("password").reveal()

    async def get_credentials_async(self) -> tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)

    def renews(self, refused: Secret) -> bool:
        return self._renewer.other_than(refused) is not None


class SecretConnectionPool(ConnectionPool):
    """redis-py connections that log in with the secret at ``path``; ``settings`` are those of its pool.

    A refused login is retried once with the secret read again. A new version is tried first. If it works, idle
    connections are closed, and those in use on return. Serves many threads.
    """

    def __init__(
        self, client: SecretClient, path: str, *, connection_class: type[Connection] = Connection, **settings: Any
    ) -> None:
        self._client = client
        self._path = path
        self._secret = client.get(path)
        credentials = SecretCredentials(client, path)
        super().__init__(_renewing(connection_class), credential_provider=credentials, **settings)
        self._unwatch = client.watch(path, self._follow)
        self._unhear = client.hear(self.told)

    def told(self, notice: Notice) -> None:
        """Handle a notice; returns once no connection logs in with what it ended.

        Raises redis-py's error if the new version fails: the existing connections stay.
        """
        self._client.told(notice)
        if notice.secret_path != self._path:
            return
        if secret := self._client.in_force(notice):
            self._follow(secret)
        if notice.event == SECRET_REVOKED:
            self._replace()

    def close(self) -> None:
        self._unwatch()
        self._unhear()
        super().close()

    def _follow(self, secret: Secret) -> None:
        if secret.fields != self._secret.fields:
            trial: Any = self.connection_class(**self.connection_kwargs)
            try:
                trial.connect()
            finally:
                trial.disconnect()
            self._secret = secret
            self._replace()

    def _replace(self) -> None:
        for connection in self._get_in_use_connections():  # type: ignore[no-untyped-call]
            connection.mark_for_reconnect()
        self.disconnect(inuse_connections=False)


def _renewing(kind: type[Connection]) -> type[Connection]:
    class Renewing(kind):  # type: ignore[misc, valid-type]
        credential_provider: SecretCredentials

        def connect_check_health(self, *settings: Any, **more: Any) -> None:
            secret = self.credential_provider.secret
            try:
                super().connect_check_health(*settings, **more)
            except AuthenticationError:
                if not self.credential_provider.renews(secret):
                    raise
                super().connect_check_health(*settings, **more)

    return Renewing
