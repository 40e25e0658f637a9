"""Fresh accounts in a real MariaDB, with an admin account that has what the documents ask for and no more."""

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pymysql

from keyturn.core.sensitive import SecretFields
from keyturn.providers.mysql.target import MySQL
from local.mariadb import MariaDB
from tests.support.lab import fresh

ADMIN = "keyturn"
ADMIN_GRANTS = (
    "CREATE USER, PROCESS, CONNECTION ADMIN ON *.*",
    "SELECT, UPDATE ON mysql.*",
    "CREATE, SELECT, INSERT, UPDATE ON keyturn.*",
)
"""As in docs/strategies/alternating-users.md; the owner roles come on top."""


@dataclass
class MariaDBLab:
    """Makes accounts, and opens the adapter."""

    server: MariaDB
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        self.sql(f"CREATE OR REPLACE USER {ADMIN} IDENTIFIED BY %s", self.admin_password)
        for grant in ADMIN_GRANTS:
            self.sql(f"GRANT {grant} TO {ADMIN}")

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        superuser = {"username": self.server.superuser, "password": self.server.superuser_password}
        with self.session(SecretFields(superuser)) as connection:
            return run(connection, statement, *values)

    @contextmanager
    def session(self, fields: SecretFields, database: str | None = None) -> "Iterator[pymysql.Connection[Any]]":
        """A session as an application opens it with what a secret holds."""
        connection = pymysql.connect(
            host=self.server.host,
            port=self.server.port,
            user=fields["username"].reveal(),
            password=fields["password"].reveal(),
            database=database,
            autocommit=True,
            ssl_disabled=True,
        )
        with closing(connection):
            yield connection

    @contextmanager
    def opened(self, fields: SecretFields) -> Iterator[Callable[[], bool]]:
        """A session of this version's user that stays, and what tells whether it still works."""
        with self.session(fields) as connection:
            yield lambda: answers(connection)

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether the server takes this username and password."""
        try:
            with self.session(fields):
                return True
        except pymysql.OperationalError as error:
            if error.args[0] in (1045, 4151):
                return False
            raise

    def target(self, accounts: "Accounts", **changes: Any) -> MySQL:
        """The adapter, with Keyturn's own admin account."""
        given = {
            "host": self.server.host,
            "port": self.server.port,
            "database": accounts.database,
            "admin": self.admin,
        }
        return MySQL("my", **{**given, "tls": "verify", "ca_file": str(self.server.authority), **changes})

    def admin(self) -> SecretFields:
        """Keyturn's own account in the database."""
        return SecretFields({"username": ADMIN, "password": self.admin_password})

    def accounts(self) -> "Accounts":
        """A fresh role that may do everything in a fresh database, and a user that has it and serves."""
        name = fresh()
        made = Accounts(name, f"{name}_owner", f"{name}_a", f"{name}_b", secrets.token_urlsafe(24))
        self.sql(f"CREATE DATABASE {made.database}")
        self.sql(f"CREATE ROLE {made.owner}")
        self.sql(f"GRANT ALL ON {made.database}.* TO {made.owner}")
        self.sql(f"GRANT {made.owner} TO {ADMIN} WITH ADMIN OPTION")
        self.sql(f"CREATE USER {made.first} IDENTIFIED BY %s", made.password)
        self.sql(f"GRANT {made.owner} TO {made.first}")
        self.sql(f"SET DEFAULT ROLE {made.owner} FOR {made.first}")
        return made


@dataclass(frozen=True)
class Accounts:
    """A database, a role and two users, of which the first exists."""

    database: str
    owner: str
    first: str
    second: str
    password: str

    @property
    def serving(self) -> SecretFields:
        """What consumers have now."""
        return SecretFields({"username": self.first, "password": self.password})


def run(connection: "pymysql.Connection[Any]", statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def answers(connection: "pymysql.Connection[Any]") -> bool:
    """Whether the server still answers in this session."""
    try:
        run(connection, "SELECT 1")
    except (pymysql.OperationalError, pymysql.InterfaceError):
        return False
    return True


class Gate:
    """A proxy to a server that holds back what a client says from ``word`` on, as if the client had been suspended."""

    def __init__(self, port: int, word: bytes) -> None:
        self.held, self.opened = threading.Event(), threading.Event()
        self._word = word
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, as if the client had died."""
        self._server.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of whatever is held."""
        self.cut()
        self.opened.set()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while said := source.recv(65_536):
                if self._word in said:
                    self.held.set()
                    self.opened.wait(30)
                sink.sendall(said)
