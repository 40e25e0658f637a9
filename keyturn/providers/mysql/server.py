"""Connections to a MySQL or MariaDB server, and the meaning of its errors."""

import socket
import ssl
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import pymysql
from pymysql import err

from keyturn.core.errors import CandidateRejected, Denied, Invalid, KeyturnError, Unavailable
from keyturn.core.ports.tracing import Span
from keyturn.core.sensitive import Sensitive
from keyturn.providers.connection_errors import reason_in
from keyturn.providers.mysql.grants import User
from keyturn.providers.mysql.password_hashes import NATIVE, SHA2
from keyturn.providers.outbound import ended_after
from keyturn.providers.sql_spans import statement_span

TIMEOUT: Final = 10
"""Seconds to connect, to log in, and for each wait for bytes of an answer."""
LONGEST_ANSWER: Final = 30.0
"""Seconds for a whole answer, including lock waits."""
IDLE: Final = 60
"""Seconds after which the server drops a silent session and its locks."""

SESSION: Final = (
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES', "
    f"wait_timeout = {IDLE}, lock_wait_timeout = {TIMEOUT}, innodb_lock_wait_timeout = {TIMEOUT}"
)

# MySQL, "MySQLServer Error Message Reference"; MariaDB, "Error Codes". Numbers from 2000 to 2999 are the client's.
REFUSED_LOGIN: Final = frozenset({1045, 1130, 1698, 1820, 1862, 3118, 4151})
"""Wrong name, host or password; an expired password; a locked account (MySQL's number, MariaDB's)."""
EXPIRED: Final = frozenset({1820, 1862})
"""The password is correct, and only allows setting another."""
ELSEWHERE: Final = 1130
NO_PRIVILEGE: Final = frozenset({1044, 1045, 1095, 1142, 1143, 1227, 1370, 1410, 1698})
"""On a database, everything, a session, a table, a column, the server, a routine, accounts, a role."""

AWAY: Final = frozenset(
    {0, 1040, 1053, 1129, 1203, 1205, 1213, 1226, 1317, 1927, 1969, 2002, 2003, 2006, 2013, 2055, 3024, 4031}
)

CANNOT_USER: Final = 1396
"""A statement about an account failed; only the warnings give the reason."""
PREVENTED: Final = 1290
HASHES_PREVENTED: Final = "strict-password-validation"
CONNECTION_FAILED: Final = 2003
NOT_REACHED: Final = frozenset({CONNECTION_FAILED, 2026})
UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
NO_TLS: Final = 2026
NO_DATABASE_PRIVILEGE: Final = 1044
NO_DATABASE: Final = 1049
NO_TABLE: Final = 1146
NO_SUCH_THREAD: Final = 1094
NOT_YOUR_THREAD: Final = 1095
UNKNOWN_PLUGIN: Final = 2059
Meaning = tuple[type[KeyturnError], str, str]
READ_ONLY: Final[Meaning] = (Unavailable, "the server is read-only", "Point the target at the primary")
NO_ROLE: Final[Meaning] = (Invalid, "a role that the catalogue names does not exist", "Create the owner role first")
MEANINGS: Final[dict[int, Meaning]] = {
    NO_TLS: (
        Invalid,
        "the server offers no TLS",
        "Give it a certificate; `tls: disable` sends names and data in clear",
    ),
    NO_DATABASE: (Invalid, "there is no such database", "Correct the target's database"),
    UNKNOWN_PLUGIN: (
        Invalid,
        "its authentication plugin is none that Keyturn can use",
        f"Alter the account to {NATIVE} on MariaDB, or to {SHA2} on MySQL",
    ),
    1524: (Invalid, "its authentication plugin is not loaded", "Load it, or give the account another plugin"),
    1792: READ_ONLY,
    1836: READ_ONLY,
    PREVENTED: READ_ONLY,
    1959: NO_ROLE,
    3523: NO_ROLE,
    1819: (
        CandidateRejected,
        "the server's password policy refuses it",
        "Make the secret's password settings stricter",
    ),
}


class ServerError(Exception):
    """The server's error; ``needs`` is the statement that would allow what was refused."""

    def __init__(self, code: int, text: str, needs: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.needs = needs


class MySQLSession:
    """One connection. An error closes it, since a half-read answer leaves an unknown state."""

    def __init__(self, connection: "pymysql.Connection[Any]") -> None:
        self._connection = connection
        self.system = "mysql"
        # With an expired password, login works and this fails.
        self.version = str(self.first("SELECT VERSION()"))
        self.mariadb = "MariaDB" in self.version
        self.system = "mariadb" if self.mariadb else self.system

    def run(self, statement: str, *values: Any, needs: str = "") -> list[tuple[Any, ...]]:
        """The rows of a statement. ``needs`` is the grant it takes, ``{admin}`` its user. Raises ServerError."""
        try:
            with self._connection.cursor() as cursor, self._in_time(), self._told(statement) as current:
                try:
                    cursor.execute(statement, values or None)
                except err.Error as error:
                    current.set("db.response.status_code", str(server_error(error).code))
                    raise
                return list(cursor.fetchall())
        except err.Error as error:
            raise self._failure(error, needs) from None

    def first(self, statement: str, *values: Any, needs: str = "") -> Any:
        rows = self.run(statement, *values, needs=needs)
        return rows[0][0] if rows else None

    def _told(self, statement: str) -> AbstractContextManager[Span]:
        connection: Any = self._connection
        database = connection.db.decode() if isinstance(connection.db, bytes) else connection.db or ""
        return statement_span(self.system, connection.host, connection.port, database, statement)

    def _in_time(self) -> AbstractContextManager[object]:
        connection: Any = self._connection
        return ended_after(connection._sock.fileno(), LONGEST_ANSWER) if self._connection.open else nullcontext()

    def usable(self) -> bool:
        try:
            self._connection.ping(reconnect=False)
        except err.Error:
            return False
        return True

    def close(self) -> None:
        if self._connection.open:
            self._connection.close()

    def _failure(self, error: err.Error, needs: str) -> ServerError:
        failure = server_error(error)
        if failure.code == CANNOT_USER:
            causes = [row for row in self.run("SHOW WARNINGS") if row[0] == "Error" and row[1] != CANNOT_USER]
            return ServerError(int(causes[0][1]), str(causes[0][2])) if causes else failure
        if needs and failure.code in NO_PRIVILEGE:
            name, _, host = str(self.first("SELECT CURRENT_USER()")).rpartition("@")
            return ServerError(failure.code, failure.text, needs.replace("{admin}", User(name, host).quoted))
        return failure


@dataclass(frozen=True)
class MySQLServer:
    name: str
    host: str
    port: int
    database: str
    tls: str = "verify"
    ca_file: str | None = None

    def log_in(self, account: str, password: Sensitive, database: str | None = None) -> MySQLSession:
        """A new session. Raises ServerError, Invalid."""
        try:
            connection = self._connection(account, password, database)
        except err.Error as error:
            raise server_error(error) from None
        except RuntimeError:
            # PyMySQL's error without the package for the account's authentication plugin.
            raise ServerError(UNKNOWN_PLUGIN, "") from None
        try:
            return MySQLSession(connection)
        except ServerError:
            connection.close()
            raise

    def translated(self, error: ServerError, doing: str, place: str) -> KeyturnError:
        if error.code in NO_PRIVILEGE:
            return Denied(doing, place, "the admin account may not do that", f"Let an administrator run: {error.needs}")
        kind, problem, hint = self._meaning(error)
        return kind(doing, place, problem, hint)

    def _meaning(self, error: ServerError) -> Meaning:
        if error.code in NOT_REACHED and UNTRUSTED in error.text:
            hint = "Give the CA's certificate in the target's ca_file, or name the host as the certificate does"
            hint += ". Check this machine's clock, too"
            return Invalid, f"the server's certificate is not one to trust{reason_in(error.text)}", hint
        if error.code == PREVENTED and HASHES_PREVENTED in error.text:
            hint = "Set strict_password_validation=OFF there: a clear password would be in its logs"
            return Invalid, "the server takes no hashed password while it checks passwords", hint
        if error.code in MEANINGS:
            return MEANINGS[error.code]
        if error.code in AWAY:
            return Unavailable, f"the server does not answer{reason_in(error.text)}", "Check the target's host and port"
        return Invalid, f"the server refuses it (error {error.code})", "See the server's log"

    def _connection(self, account: str, password: Sensitive, database: str | None) -> "pymysql.Connection[Any]":
        connection = self._described(account, password, database)
        try:
            reached = socket.create_connection((self.host, self.port), TIMEOUT)
        except OSError as error:
            raise err.OperationalError(CONNECTION_FAILED, str(error)) from None
        reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reached.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # For greeting, TLS and login together: PyMySQL's timeouts apply to each wait for bytes.
        with ended_after(reached.fileno(), TIMEOUT):
            connection.connect(reached)
        return connection

    def _described(self, account: str, password: Sensitive, database: str | None) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=account,
            password=password.reveal(),
            database=database,
            charset="utf8mb4",
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            write_timeout=TIMEOUT,
            autocommit=True,
            init_command=SESSION,
            program_name="keyturn",
            ssl=self._trust(),
            ssl_disabled=self.tls == "disable",
            defer_connect=True,
        )

    def _trust(self) -> ssl.SSLContext | None:
        if self.tls == "disable":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            hint = "Correct the target's ca_file: a PEM file that Keyturn may read"
            raise Invalid("log in to", self.name, f"there is no CA certificate in {self.ca_file}", hint) from None
        if self.tls == "require":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def server_error(error: err.Error) -> ServerError:
    code, text = (*error.args, "", "")[:2]
    return ServerError(code if isinstance(code, int) else 0, str(text))
