"""The accounts of a drill in the stack's database: made and dropped by its superuser, tried as an intruder would."""

import secrets
from typing import Any, Final

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from keyturn.core.sensitive import SecretFields
from keyturn.providers.postgresql.target import refused_login
from local import environment
from local.home import Stack
from local.prepare import ADMIN, DATABASE, database, literal

TIMEOUT: Final = 10

OF_THE_DRILL: Final = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)"
OF_THE_ENGINE: Final = """
SELECT m.rolname FROM pg_auth_members JOIN pg_roles m ON m.oid = member JOIN pg_roles g ON g.oid = roleid
WHERE starts_with(g.rolname, %s) AND starts_with(m.rolname, 'v-')
"""
"""What the hub's engine has made for the drill's role, and could not drop again."""


def make_owner(stack: Stack, prefix: str) -> str:
    """A role without login that Keyturn may make members of; its name."""
    owner = f"{prefix}owner"
    with superuser(stack) as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(owner)))
        grant(cursor, "GRANT {} TO {} WITH ADMIN OPTION", owner, ADMIN)
    return owner


def make_user(stack: Stack, prefix: str, owner: str) -> SecretFields:
    """A login role that acts as ``owner`` and that Keyturn may alter, as an application would get it."""
    user, password = f"{prefix}a", secrets.token_urlsafe(24)
    with superuser(stack) as cursor:
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}")
        cursor.execute(made.format(sql.Identifier(user), sql.SQL(literal(cursor, password)), sql.Identifier(owner)))
        grant(cursor, "ALTER ROLE {} SET role = {}", user, owner)
        grant(cursor, "GRANT {} TO {} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE", user, ADMIN)
    return SecretFields({"username": user, "password": password, **address(stack)})


def drop_accounts(stack: Stack, prefix: str) -> None:
    """End the sessions of every account whose name begins so, and drop it with what it owns. Absent is success."""
    with superuser(stack) as cursor:
        for query in (OF_THE_ENGINE, OF_THE_DRILL):
            cursor.execute(query, (prefix,))
            for (role,) in cursor.fetchall():
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
                cursor.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def superuser(stack: Stack) -> Any:
    """A cursor that may do everything."""
    server = stack.database
    return database(server.host, server.port, server.superuser_password, DATABASE, environment.ca_file(stack))


def grant(cursor: Cursor, statement: str, *roles: str) -> None:
    """A statement about these roles."""
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, roles)))


def address(stack: Stack) -> dict[str, Any]:
    """What a secret holds besides username and password."""
    return {"host": stack.database.host, "port": stack.ports["postgres"], "database": DATABASE}


# --- as an intruder would


def logged_in(stack: Stack, fields: SecretFields) -> Connection:
    """A session with a leaked username and password. Raises psycopg2.OperationalError."""
    held = {**fields.reveal(), **address(stack)}
    connection: Connection = psycopg2.connect(
        host=held["host"],
        port=held["port"],
        dbname=held["database"],
        user=held["username"],
        password=held["password"],
        sslmode="verify-full",
        sslrootcert=environment.ca_file(stack),
        connect_timeout=TIMEOUT,
        application_name="intruder",
        options=f"-c statement_timeout={TIMEOUT}s",
    )
    connection.autocommit = True
    return connection


def accepted(stack: Stack, fields: SecretFields) -> bool | None:
    """Whether the database lets somebody in with it; None where it does not answer."""
    try:
        logged_in(stack, fields).close()
    except psycopg2.OperationalError as error:
        return False if refused_login(error) else None
    return True


def answers(connection: Connection) -> bool:
    """Whether a session still goes on."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        return False
    return True
