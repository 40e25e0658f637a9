"""A SQLAlchemy engine on a rotated secret; connections in use are never dropped.

engine = create_engine("postgresql+psycopg2://db.example/ml", pool_recycle=3600)
login = EngineLogin(engine, client, "ml-training/database")
status = receiver.handle(headers, body, login.told)
"""

from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from keyturn.client.client import SecretClient
from keyturn.client.renewer import Renewer
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice

TURN: Final = "keyturn-turn"


class EngineLogin:
    """Makes an engine log in with the fields ``username`` and ``password`` of the secret at ``path``.

    Its driver must take ``user`` and ``password``; of an asynchronous engine, pass ``sync_engine``. A refused login is
    retried once with the secret read again. On a new version, idle connections are closed, and those in use on return.
    Serves many threads.
    """

    def __init__(self, engine: Engine, client: SecretClient, path: str) -> None:
        self._engine = engine
        self._client = client
        self._path = path
        self._renewer = Renewer(client, path)
        self._turn = 0
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "checkin", self._checkin)
        self._unwatch = client.watch(path, lambda secret: self._replace())
        self._unhear = client.hear(self.told)

    def told(self, notice: Notice) -> None:
        """Handle a notice; returns once the new version has logged in and older idle connections are closed.

        Raises the driver's error if the new version fails.
        """
        self._client.told(notice)
        if notice.secret_path != self._path:
            return
        if self._client.in_force(notice):
            self._engine.raw_connection().close()
        if notice.event == SECRET_REVOKED:
            self._replace()

    def close(self) -> None:
        self._unwatch()
        self._unhear()

    def _replace(self) -> None:
        self._turn += 1
        self._engine.dispose()

    def _connect(self, dialect: Dialect, record: ConnectionPoolEntry, arguments: Any, settings: Any) -> Any:
        record.info[TURN], secret = self._turn, self._client.get(self._path)
        try:
            return dialect.connect(*arguments, **settings, **_login(secret))
        except dialect.loaded_dbapi.OperationalError:
            other = self._renewer.other_than(secret)
            if other is None:
                raise
            record.info[TURN] = self._turn
            return dialect.connect(*arguments, **settings, **_login(other))

    def _checkin(self, connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is not None and record.info[TURN] != self._turn:
            record.invalidate()


def _login(secret: Secret) -> dict[str, str]:
    return {"user": secret.field("username").reveal(), "password": secret.field("password").reveal()}
