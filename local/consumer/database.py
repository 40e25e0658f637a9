"""The database as one credential opens it, and the query that the application lives on."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from keyturn.client.pool import SecretPool
from keyturn.client.secrets import Secret
from keyturn.core.errors import Invalid

JOBS: Final = "CREATE TABLE IF NOT EXISTS jobs (worker text PRIMARY KEY, done bigint NOT NULL, ran_as text NOT NULL)"
WRITE: Final = (
    "INSERT INTO jobs AS held (worker, done, ran_as) VALUES (%(worker)s, 1, current_user)"
    " ON CONFLICT (worker) DO UPDATE SET done = held.done + 1, ran_as = current_user RETURNING done"
)
READ: Final = "SELECT current_user, count(*) FROM pg_catalog.pg_stat_activity"
TIMEOUT: Final = 5
"""Seconds a login or a query may take."""


@dataclass(frozen=True)
class Address:
    """Where the database is; a secret's own ``host``, ``port`` and ``database`` fields go before.

    With a ``ca_file`` (PEM) it is spoken to over TLS that is checked, else as libpq does by itself.
    """

    host: str
    port: int
    database: str
    ca_file: str | None = None

    @property
    def tls(self) -> dict[str, Any]:
        """What libpq is told of TLS."""
        return {"sslmode": "verify-full", "sslrootcert": self.ca_file} if self.ca_file else {}

    def connect(self, application: str, secret: Secret) -> Connection:
        """A connection that logs in with the secret. Raises Invalid, and psycopg2.Error."""
        if missing := {"username", "password"} - set(secret.fields):
            raise Invalid("log in to", "the database", f"the secret lacks {' and '.join(sorted(missing))}")
        held: dict[str, Any] = {"host": self.host, "port": self.port, "database": self.database}
        held |= secret.fields.reveal()
        connection: Connection = psycopg2.connect(
            host=held["host"],
            port=held["port"],
            dbname=held["database"],
            user=held["username"],
            password=held["password"],
            application_name=application,
            connect_timeout=TIMEOUT,
            **self.tls,
            options=f"-c statement_timeout={TIMEOUT * 1000}",
        )
        connection.autocommit = True
        return connection


def choose_statement(pool: SecretPool[Connection], worker: str) -> str:
    """The writing query where the credential may write to a table ``jobs``, made if it may; else the reading one."""
    with pool.connection() as connection, connection.cursor() as cursor:
        # It may not, or another application makes the table at this moment: the next statement tells.
        with suppress(errors.InsufficientPrivilege, errors.UniqueViolation, errors.DuplicateTable):
            cursor.execute(JOBS)
        try:
            cursor.execute(WRITE, {"worker": worker})
        except (psycopg2.ProgrammingError, psycopg2.IntegrityError):
            return READ
    return WRITE


def run(pool: SecretPool[Connection], statement: str, worker: str) -> None:
    """One query on a lent connection. Raises psycopg2.Error, and what the pool raises before anything was sent."""
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement, {"worker": worker})
        cursor.fetchone()
