"""PostgreSQL as a target: accounts are login roles, and every write to one is fenced.

The role's comment holds the last rotation's sequence number. A transaction under an advisory lock writes it with the
password, so a suspended worker can't restore an old password. Advisory locks are per database: all workers use the same
one.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg2
from psycopg2 import errors as pg
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import parse_dsn

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, UnsupportedOperation
from keyturn.core.ports.strategies import SHADOW, Sessions
from keyturn.core.ports.tracing import current_span
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection, keyword_pairs, percent_decoded, url
from keyturn.providers.accounts import (
    Idle,
    Missing,
    admin_refused,
    insist_on_another,
    lacking,
    login_refused,
    superseded,
)
from keyturn.providers.connection_errors import reason_in
from keyturn.providers.libpq import tls
from keyturn.providers.postgresql import accounts, privileges, sessions
from keyturn.providers.postgresql.accounts import highest
from keyturn.providers.postgresql.privileges import missing_grants
from keyturn.providers.postgresql.scram import verifier
from keyturn.providers.side_by_side import both
from keyturn.providers.sql_spans import statement_span

TIMEOUT: Final = 10  # seconds for a connection and for each statement
PORT: Final = 5432
SCHEME: Final = re.compile(r"\Apostgres(?:ql)?(?:\+\w+)?://")

STILL: Final = 5
"""Seconds that a session may idle in a transaction. The server ends a suspended worker's session, which holds the
account's lock, before waiting sessions give up."""

LOGIN_REFUSED: Final = ("28P01", "28000")
"""SQLSTATE invalid_password and invalid_authorization_specification."""

REFUSALS: Final = re.compile(
    r"FATAL: .*(password authentication failed|not permitted to log in|no password assigned|role .* does not exist)"
)

KEPT_OUT: Final = re.compile(r"FATAL: .*permission denied for database")
NO_SCRAM: Final = re.compile(r"authentication method requirement .* failed")

NO_TRUST: Final = re.compile(
    r"certificate verify failed|server certificate for|root certificate|SSL was required|does not support SSL"
)

CHANGED_MEANWHILE: Final = re.compile(r"could not open relation|cache lookup failed|concurrently (updated|deleted)")
"""PostgreSQL reports these as internal errors, such as ``REASSIGN OWNED`` while an application drops a table."""
NO_DATABASE: Final = re.compile(r"FATAL: .*database .* does not exist")


class TracedCursor(Cursor):
    """psycopg2's own; a span records only the kind of statement."""

    def execute(self, query: Any, vars: Any = None) -> None:  # as psycopg2 calls it
        if not current_span()[0]:
            return super().execute(query, vars)
        server = self.connection.info
        with statement_span("postgresql", server.host, server.port, server.dbname, beginning(query)) as current:
            try:
                super().execute(query, vars)
            except psycopg2.Error as error:
                if error.pgcode:
                    current.set("db.response.status_code", error.pgcode)
                raise


def beginning(query: Any) -> str:
    while isinstance(query, sql.Composed) and query.seq:
        query = query.seq[0]
    if isinstance(query, sql.SQL):
        return query.string
    return query if isinstance(query, str) else ""


class PostgreSQL:
    """An :class:`keyturn.core.ports.strategies.AccountTarget` on PostgreSQL 12 or newer.

    ``admin`` gives the login of a role with CREATEROLE and ADMIN OPTION on the accounts. Each new connection calls it
    again, so that the admin's own password can be rotated.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        database: str,
        admin: Callable[[], SecretFields],
        sslmode: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._where: dict[str, Any] = {"host": host, "port": port, "dbname": database}
        self._where |= tls([host], sslmode, ca_file, os.environ)
        self._admin = admin
        self._idle = Idle(self._connect_admin, usable)

    def set_password(
        self,
        account: str,
        password: Sensitive,
        *,
        sequence: int,
        like: str | None = None,
        member_of: str | None = None,
        keep_old: bool = False,
    ) -> None:
        """Set the account's password; only its SCRAM verifier is sent, so no log can hold it."""
        if keep_old:
            problem, hint = "a role has one password", "Say accepts_gap, or use alternating-users"
            raise UnsupportedOperation("set the password of", self._named(account), problem, hint)
        with self._fenced("set the password of", account, sequence) as (cursor, exists):
            if not exists:
                accounts.create_role(cursor, account, like, member_of)
            if member_of:
                accounts.act_as(cursor, account, member_of)
            accounts.let_in(cursor, account, verifier(cursor.connection, account, password))

    def discard_old(self, account: str, *, sequence: int) -> None:
        """Do nothing: a role has only one password."""

    def last_sequence(self, accounts: Collection[str]) -> int:
        with self._asking("read the number of", ", ".join(sorted(accounts))) as cursor:
            return highest(cursor, accounts)

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        if like is None or like == account:
            self._logged_in(account, password)
            return
        acts_as, (expected, missing) = both(
            lambda: self._logged_in(account, password), lambda: self._missing_privileges(account, like)
        )
        if acts_as != expected:
            _, missing = self._missing_privileges(account, like, acts_as)
        if missing:
            raise lacking(self._named(account), missing)

    def _logged_in(self, account: str, password: Sensitive) -> str:
        try:
            connection = self._connect(account, password)
        except psycopg2.OperationalError as error:
            if refused_login(error) or KEPT_OUT.search(str(error)):
                raise login_refused(self._named(account)) from None
            raise self._translated(error, "log in as", account) from None
        try:
            with closing(connection), connection.cursor() as cursor:
                cursor.execute("SELECT current_user")
                return str(accounts.first(cursor))
        except psycopg2.Error as error:
            raise self._translated(error, "log in as", account) from None

    def _missing_privileges(self, account: str, like: str, acts_as: str = "") -> tuple[str, Sequence[Missing]]:
        """The role that ``account`` acts as (``acts_as``, or else by its settings), and the rights it lacks."""
        with self._asking("compare the privileges of", account) as cursor:
            acting = acts_as or privileges.acting(cursor, account)
            return acting, privileges.missing_rights(cursor, account, acting, like)

    def read_connection(self, text: Sensitive) -> Connection | None:
        connection = read_connection(text)
        leads_here = connection is not None and connection.leads_to(self._where["host"], self._where["port"])
        return connection.within(self._where["dbname"]) if connection and leads_here else None

    def accepts(self, account: str, password: Sensitive) -> bool:
        try:
            self._connect(account, password).close()
        except psycopg2.OperationalError as error:
            if refused_login(error):
                return False
            if KEPT_OUT.search(str(error)):
                return True
            raise self._translated(error, "log in as", account) from None
        return True

    def lets_in(self, account: str) -> bool:
        with self._asking("look at", account) as cursor:
            cursor.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (account,))
            row = cursor.fetchone()
        return bool(row and row[0])

    def list_accounts(self) -> dict[str, frozenset[str]]:
        with self._asking("list the accounts of", self.name) as cursor:
            return accounts.login_roles(cursor)

    def sessions(self, account: str) -> int:
        with self._asking("count the sessions of", account) as cursor:
            return sessions.count_sessions(cursor, account)

    def disable(self, account: str, *, sequence: int) -> None:
        with self._fenced("disable", account, sequence) as (cursor, exists):
            if exists:
                accounts.shut(cursor, account)

    def revoke(self, account: str, *, sequence: int) -> int:
        insist_on_another(self._named(account), account, self._admin())
        return self.end_sessions(account, lambda: self.disable(account, sequence=sequence))

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        doing = "end the sessions of"
        with self.transaction(doing, account) as cursor:
            oid = sessions.account_oid(cursor, account)
        refuse()
        if oid is None:
            return 0
        return sessions.end_sessions(lambda: self.transaction(doing, account), oid, self._named(account))

    def drop_shadow(self, account: str) -> None:
        if not account.startswith(SHADOW):
            raise Invalid("drop", self._named(account), "it is no account of a rehearsal", "Drop it by hand")
        with self.transaction("drop", account) as cursor:
            if accounts.lock_account(cursor, account) is not None:
                cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(account)))

    @contextmanager
    def hold_session(self, account: str, password: Sensitive) -> Iterator[Sessions | None]:
        try:
            connection = self._connect(account, password)
        except psycopg2.OperationalError as error:
            if not KEPT_OUT.search(str(error)):
                raise self._translated(error, "log in as", account) from None
            yield None
            return
        with closing(connection):
            yield lambda: self.sessions(account)

    def missing_grants(self, accounts: Collection[str]) -> Sequence[str]:
        with self._asking("ask for the rights on", ", ".join(sorted(accounts))) as cursor:
            return missing_grants(cursor, accounts)

    def close(self) -> None:
        self._idle.close()

    @contextmanager
    def transaction(self, doing: str, account: str) -> Iterator[Cursor]:
        with self._lent(doing, account) as connection, connection, connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _asking(self, doing: str, account: str) -> Iterator[Cursor]:
        """The same in autocommit, for reads: saves two round trips."""
        with self._lent(doing, account) as connection, questions(connection), connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _lent(self, doing: str, account: str) -> Iterator[PgConnection]:
        try:
            with self._idle.lent() as connection:
                yield connection
        except psycopg2.Error as error:
            raise self._translated(error, doing, account) from None

    @contextmanager
    def _fenced(self, doing: str, account: str, sequence: int) -> Iterator[tuple[Cursor, bool]]:
        with self.transaction(doing, account) as cursor:
            comment = accounts.lock_account(cursor, account)
            stands = accounts.marked_sequence(comment)
            if stands is not None and stands > sequence:
                raise superseded(doing, self._named(account), stands=stands, sequence=sequence)
            yield cursor, comment is not None
            if comment is not None or accounts.role_exists(cursor, account):
                accounts.mark(cursor, account, comment or "", sequence)

    def _connect_admin(self) -> PgConnection:
        admin = self._admin()
        account = admin["username"].reveal()
        try:
            return self._connect(account, admin["password"])
        except psycopg2.OperationalError as error:
            if refused_login(error):
                raise admin_refused(self.name, f"the admin account {account} is refused") from None
            raise self._translated(error, "log in to", account) from None

    def _connect(self, account: str, password: Sensitive) -> PgConnection:
        connection: PgConnection = psycopg2.connect(
            **self._where,
            user=account,
            password=password.reveal(),
            connect_timeout=TIMEOUT,
            # An impostor could request the plain password.
            require_auth="scram-sha-256",
            # Detects a server that vanished, as in a failover after a power cut.
            keepalives_idle=TIMEOUT,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=TIMEOUT * 1000,
            application_name="keyturn",
            cursor_factory=TracedCursor,
            options=f"-c statement_timeout={TIMEOUT}s -c idle_in_transaction_session_timeout={STILL}s",
        )
        return connection

    def _translated(self, error: psycopg2.Error, doing: str, account: str) -> KeyturnError:
        name = self._named(account)
        match error:
            case pg.InsufficientPrivilege():
                hint = f"Give the admin role CREATEROLE, and `GRANT {account} TO <admin> WITH ADMIN OPTION`"
                return Denied(doing, name, "the admin role may not do that", hint)
            case pg.UndefinedObject() | pg.InvalidGrantOperation():
                problem = "a role that the catalogue names does not exist"
                return Invalid(doing, name, problem, "Create the owner role first")
            case psycopg2.OperationalError() if NO_SCRAM.search(str(error)):
                problem = "the server does not log this account in by scram-sha-256, and nothing was shown to it"
                hint = "See pg_hba.conf and the account's password for that. If they say so: who answers there?"
                return Denied(doing, name, problem, hint)
            case psycopg2.OperationalError() if NO_TRUST.search(str(error)):
                problem = f"TLS as sslmode {self._where['sslmode']} wants it can't be had from the server"
                trusted = self._where.get("sslrootcert", "none")
                hint = f"Check ca_file ({trusted}) and host against the server's certificate, and this machine's clock"
                return Denied(doing, name, f"{problem}{reason_in(str(error))}", hint)
            case psycopg2.OperationalError() if NO_DATABASE.search(str(error)):
                problem = f"there is no database {self._where['dbname']}"
                return Invalid(doing, name, problem, "Correct the target's database")
            case pg.LockNotAvailable() | pg.DeadlockDetected():
                hint = "Nothing of this was changed: run it again, until the locks are to be had"
                return Unavailable(doing, name, "others hold locks that it needs", hint)
            case pg.InternalError_() if CHANGED_MEANWHILE.search(str(error)):
                problem = "another session changed or dropped one of the objects meanwhile"
                return Unavailable(doing, name, problem, "Nothing of this was changed: run it again")
            case pg.DependentObjectsStillExist():
                problem = "it owns or may use something in another database, so it stays there, and can't log in"
                return Invalid(doing, name, problem, f"Run `DROP OWNED BY {account}` in that database")
            case pg.QueryCanceled():
                problem = f"it was not done within {TIMEOUT} s"
                return Unavailable(doing, name, problem, "See pg_locks on the server for who holds the account")
            case pg.ReadOnlySqlTransaction():
                return Unavailable(doing, name, "the server is read-only", "Point the target at the primary")
            case psycopg2.OperationalError() | psycopg2.InterfaceError():
                problem = f"the server does not answer{reason_in(str(error))}"
                return Unavailable(doing, name, problem, "Check the target's host and port")
            case _:
                return Invalid(doing, name, f"the server refuses it (SQLSTATE {error.pgcode})", "See the server's log")

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def read_connection(text: Sensitive) -> Connection | None:
    plain = text.reveal()
    if plain.startswith("jdbc:"):
        return url(plain, "postgresql", PORT)
    try:
        parts = parse_dsn(SCHEME.sub("postgresql://", plain))
    except psycopg2.ProgrammingError:
        parts = {}
    if not {"host", "user", "password"} <= set(parts):
        return keyword_pairs(plain, PORT, bare_odbc=percent_decoded)
    hosts = str(parts["host"]).split(",")
    ports = [int(port) if port.isdecimal() else PORT for port in str(parts.get("port", PORT)).split(",")]
    places = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
    return Connection(parts["user"], Sensitive(parts["password"]), tuple(places), parts.get("dbname", parts["user"]))


def refused_login(error: psycopg2.OperationalError) -> bool:
    """libpq gives no SQLSTATE for a failed connection."""
    return error.pgcode in LOGIN_REFUSED or REFUSALS.search(str(error)) is not None


def usable(connection: PgConnection) -> bool:
    try:
        with questions(connection), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


@contextmanager
def questions(connection: PgConnection) -> Iterator[None]:
    connection.autocommit = True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = False
