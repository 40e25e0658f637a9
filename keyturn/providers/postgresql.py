"""PostgreSQL as a target: accounts are login roles, and every write to one is fenced.

The sequence number of the rotation that wrote last stands in the role's comment, written in the same
transaction as the password and under an advisory lock, so that a worker that was suspended can't set an
old password on an account that has moved on. Advisory locks are per database: all workers use the same one.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
from psycopg2 import errors as pg
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import encrypt_password

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, UnsupportedOperation
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.accounts import Idle, admin_refused, lacking, login_refused, superseded

TIMEOUT: Final = 10
"""Seconds for a connection and for each statement."""

STILL: Final = 5
"""Seconds that a session may stand still within a transaction. A worker that is suspended there holds the account's
lock: the server ends its session, before whoever waits for the lock gives up."""

FENCE: Final = re.compile(r" ?\[keyturn sequence=(\d+)\]")

LOGIN_REFUSED: Final = ("28P01", "28000")
"""SQLSTATE invalid_password and invalid_authorization_specification."""

REFUSALS: Final = re.compile(
    r"FATAL: .*(password authentication failed|not permitted to log in|no password assigned"
    r"|role .* does not exist|permission denied for database)"
)
"""The same in the server's words."""

NO_DATABASE: Final = re.compile(r"FATAL: .*database .* does not exist")

PRIVILEGES: Final = """
WITH granted AS (
    SELECT member, 'member of ' || roleid::regrole AS what FROM pg_auth_members
  UNION ALL
    SELECT d.refobjid, privilege_type || ' on ' || c.oid::regclass
      FROM pg_shdepend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid,
           aclexplode(c.relacl) WHERE grantee = d.refobjid AND d.deptype = 'a' AND d.dbid = (
           SELECT oid FROM pg_database WHERE datname = current_database())
  UNION ALL
    SELECT d.refobjid, privilege_type || ' on schema ' || n.nspname
      FROM pg_shdepend d JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid,
           aclexplode(n.nspacl) WHERE grantee = d.refobjid AND d.deptype = 'a' AND d.dbid = (
           SELECT oid FROM pg_database WHERE datname = current_database())
  UNION ALL
    SELECT d.refobjid, privilege_type || ' on database ' || b.datname
      FROM pg_shdepend d JOIN pg_database b ON d.classid = 'pg_database'::regclass AND b.oid = d.objid,
           aclexplode(b.datacl) WHERE grantee = d.refobjid AND d.deptype = 'a'
)
SELECT what FROM granted JOIN pg_roles ON pg_roles.oid = member WHERE rolname = %(like)s
EXCEPT SELECT what FROM granted JOIN pg_roles ON pg_roles.oid = member WHERE rolname = %(account)s
ORDER BY what
"""
"""What one role was granted and the other was not: memberships, and grants on tables, schemas and databases."""

MEMBERSHIPS: Final = """
SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = %s ORDER BY 1
"""


class PostgreSQL:
    """An :class:`keyturn.core.strategies.AccountTarget` on PostgreSQL 12 or newer.

    ``admin`` gives username and password of a role with CREATEROLE and ADMIN OPTION on the accounts; it is
    asked again for each new connection, so that the admin's own password can be rotated.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        database: str,
        admin: Callable[[], SecretFields],
        sslmode: str = "prefer",
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._where: dict[str, Any] = {"host": host, "port": port, "dbname": database, "sslmode": sslmode}
        self._where |= {"sslrootcert": ca_file} if ca_file else {}
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
        """Let ``account`` log in with ``password``; only its SCRAM verifier travels, so no log can hold it."""
        if keep_old:
            problem, hint = "a role has one password", "Say accepts_gap, or use alternating-users"
            raise UnsupportedOperation("set the password of", self._named(account), problem, hint)
        with self._fenced("set the password of", account, sequence) as (cursor, exists):
            if not exists:
                create_role(cursor, account, like)
            if member_of:
                act_as(cursor, account, member_of)
            verifier = encrypt_password(password.reveal(), account, cursor.connection, "scram-sha-256")
            cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(account)), (verifier,))

    def discard_old(self, account: str, *, sequence: int) -> None:
        """Nothing: a role has one password, and none is kept beside it."""

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        """Log in on a new connection and compare the account's privileges with those of ``like``."""
        try:
            connection = self._connect(account, password)
        except psycopg2.OperationalError as error:
            raise self._login_failure(error, account) from None
        connection.close()
        if like and like != account and (missing := self._missing_privileges(account, like)):
            raise lacking(self._named(account), account, missing)

    def _missing_privileges(self, account: str, like: str) -> list[str]:
        """What ``like`` may do and ``account`` may not; the admin's session knows the catalogs already."""
        try:
            with self._idle.lent() as connection, connection, connection.cursor() as cursor:
                cursor.execute(PRIVILEGES, {"account": account, "like": like})
                return [what for (what,) in cursor.fetchall()]
        except psycopg2.Error as error:
            raise self._translated(error, "compare the privileges of", account) from None

    def sessions(self, account: str) -> int:
        """How many sessions ``account`` has open now, on all databases of the server."""
        try:
            with self._idle.lent() as connection, connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (account,))
                return int(first(cursor) or 0)
        except psycopg2.Error as error:
            raise self._translated(error, "count the sessions of", account) from None

    def disable(self, account: str, *, sequence: int) -> None:
        """Refuse every login of ``account`` and forget its password. Absent is success."""
        with self._fenced("disable", account, sequence) as (cursor, exists):
            if exists:
                cursor.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(account)))

    def close(self) -> None:
        """Let go of the admin's connections."""
        self._idle.close()

    @contextmanager
    def _fenced(self, doing: str, account: str, sequence: int) -> Iterator[tuple[Cursor, bool]]:
        """A transaction that holds the account's lock and refuses to go back in sequence."""
        try:
            with self._idle.lent() as connection, connection, connection.cursor() as cursor:
                found = lock_account(cursor, account)
                self._check_sequence(found, doing, account, sequence)
                yield cursor, found is not None
                if found is not None or role_exists(cursor, account):
                    mark(cursor, account, found or "", sequence)
        except psycopg2.Error as error:
            raise self._translated(error, doing, account) from None

    def _check_sequence(self, comment: str | None, doing: str, account: str, sequence: int) -> None:
        stands = FENCE.search(comment or "")
        if stands and int(stands[1]) > sequence:
            place, remedy = self._named(account), "clear the role's comment"
            raise superseded(doing, place, stands=int(stands[1]), sequence=sequence, remedy=remedy)

    def _connect_admin(self) -> Connection:
        admin = self._admin()
        account = admin["username"].reveal()
        try:
            return self._connect(account, admin["password"])
        except psycopg2.OperationalError as error:
            if refused_login(error):
                raise admin_refused(self.name, f"the admin account {account} is refused") from None
            raise self._translated(error, "log in to", account) from None

    def _connect(self, account: str, password: Sensitive) -> Connection:
        connection: Connection = psycopg2.connect(
            **self._where,
            user=account,
            password=password.reveal(),
            connect_timeout=TIMEOUT,
            # No limit of the server's holds once it has vanished without a word, as in a fail-over after a power cut.
            keepalives_idle=TIMEOUT,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=TIMEOUT * 1000,
            application_name="keyturn",
            options=f"-c statement_timeout={TIMEOUT}s -c idle_in_transaction_session_timeout={STILL}s",
        )
        return connection

    def _login_failure(self, error: psycopg2.OperationalError, account: str) -> KeyturnError:
        if refused_login(error):
            return login_refused(self._named(account))
        return self._translated(error, "log in as", account)

    def _translated(self, error: psycopg2.Error, doing: str, account: str) -> KeyturnError:
        name = self._named(account)
        match error:
            case pg.InsufficientPrivilege():
                hint = f"Give the admin role CREATEROLE, and `GRANT {account} TO <admin> WITH ADMIN OPTION`"
                return Denied(doing, name, "the admin role may not do that", hint)
            case pg.UndefinedObject() | pg.InvalidGrantOperation():
                return Invalid(
                    doing, name, "a role that the catalogue names does not exist", "Create the owner role first"
                )
            case psycopg2.OperationalError() if NO_DATABASE.search(str(error)):
                problem = f"there is no database {self._where['dbname']}"
                return Invalid(doing, name, problem, "Correct the target's database")
            case pg.QueryCanceled():
                problem = f"it was not done within {TIMEOUT} s"
                return Unavailable(doing, name, problem, "See pg_locks on the server for who holds the account")
            case pg.ReadOnlySqlTransaction():
                return Unavailable(doing, name, "the server is read-only", "Point the target at the primary")
            case psycopg2.OperationalError() | psycopg2.InterfaceError():
                return Unavailable(doing, name, "the server does not answer", "Check the target's host and port")
            case _:
                return Invalid(doing, name, f"the server refuses it (SQLSTATE {error.pgcode})", "See the server's log")

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def refused_login(error: psycopg2.OperationalError) -> bool:
    """Whether the server itself refused the login; libpq gives no SQLSTATE for a failed connection."""
    return error.pgcode in LOGIN_REFUSED or REFUSALS.search(str(error)) is not None


def usable(connection: Connection) -> bool:
    """Whether an idle connection still reaches the server; asking costs a tenth of logging in."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


def lock_account(cursor: Cursor, account: str) -> str | None:
    """Take the account's lock until the transaction ends; the role's comment, None when there is no role."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyturn:' || %s, 0))", (account,))
    cursor.execute(
        "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s", (account,)
    )
    return first(cursor)


def role_exists(cursor: Cursor, account: str) -> bool:
    """Whether there is such a role."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (account,))
    return cursor.fetchone() is not None


def mark(cursor: Cursor, account: str, comment: str, sequence: int) -> None:
    """Write the sequence number into the role's comment; the rest of the comment stays."""
    text = FENCE.sub("", comment) + f" [keyturn sequence={sequence}]"
    cursor.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(sql.Identifier(account)), (text.strip(),))


def create_role(cursor: Cursor, account: str, like: str | None) -> None:
    """Make the account with the memberships of ``like``; it can't log in before it has a password."""
    cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(account)))
    cursor.execute(MEMBERSHIPS, (like,))
    for (group,) in cursor.fetchall():
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(account)))


def act_as(cursor: Cursor, account: str, owner: str) -> None:
    """Let all that the account makes belong to ``owner``: it is a member, and acts as it from login on."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND %s = ANY(rolconfig)", (account, f"role={owner}"))
    if cursor.fetchone():
        return
    names = {"owner": sql.Identifier(owner), "account": sql.Identifier(account)}
    cursor.execute(sql.SQL("GRANT {owner} TO {account}").format(**names))
    cursor.execute(sql.SQL("ALTER ROLE {account} SET role = {owner}").format(**names))


def first(cursor: Cursor) -> str | None:
    """The only column of the only row, None without a row."""
    row = cursor.fetchone()
    return str(row[0]) if row else None
