"""The fence around the accounts of a MySQL or MariaDB server: one writer at a time, and never an older rotation.

A change of an account is no transaction there: ALTER USER commits whatever was open before it, and lets row locks
go. So the writer holds a lock that belongs to its connection (GET_LOCK), from its look at the sequence number until
the change is done on that same connection. A worker that is suspended in between keeps the lock; the next one waits
a while and then ends that connection (KILL). The server gives the lock away only once the connection is gone, so
nothing of the suspended worker can run after it: its ALTER USER fails for want of a connection. No window is left.

The number stands in a table and is written before the change. A worker that dies in between leaves a higher number,
which refuses only those that are older anyway.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from keyturn.providers.mysql.server import (
    NO_DATABASE,
    NO_SUCH_THREAD,
    NO_TABLE,
    NOT_YOUR_THREAD,
    MySQLSession,
    ServerError,
)

PATIENCE: Final = 3
"""Seconds that another writer is given: a change takes a hundredth of one."""

SCHEMA: Final = "keyturn"
TABLE: Final = "keyturn.accounts"
MAKE_TABLE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    account VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    sequence BIGINT UNSIGNED NOT NULL,
    making BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE = InnoDB
"""
NEEDS_TABLE: Final = f"GRANT CREATE, SELECT, INSERT, UPDATE ON {SCHEMA}.* TO {{admin}}"


@dataclass(frozen=True)
class FenceEntry:
    """What is known of an account: the rotation that wrote last, and whether its making was begun and not finished."""

    sequence: int = 0
    making: bool = False


def read_fence(session: MySQLSession, account: str) -> FenceEntry:
    """What stands in the table, which is made where it is not there yet."""
    statement = f"SELECT sequence, making FROM {TABLE} WHERE account = %s"  # noqa: S608
    try:
        rows = session.run(statement, account, needs=NEEDS_TABLE)
    except ServerError as error:
        if error.code not in (NO_TABLE, NO_DATABASE):
            raise
        session.run(f"CREATE DATABASE IF NOT EXISTS {SCHEMA}", needs=NEEDS_TABLE)
        session.run(MAKE_TABLE, needs=NEEDS_TABLE)
        rows = []
    return FenceEntry(int(rows[0][0]), bool(rows[0][1])) if rows else FenceEntry()


def highest(session: MySQLSession, accounts: Collection[str]) -> int:
    """The highest number of these; 0 where none stands in the table, or there is no table yet."""
    names = list(accounts)
    places = ", ".join(["%s"] * len(names))
    statement = f"SELECT coalesce(max(sequence), 0) FROM {TABLE} WHERE account IN ({places})"  # noqa: S608
    try:
        return int(session.run(statement, *names, needs=NEEDS_TABLE)[0][0])
    except ServerError as error:
        if error.code not in (NO_TABLE, NO_DATABASE):
            raise
        return 0


def write_fence(session: MySQLSession, account: str, sequence: int, *, making: bool) -> None:
    """Put the number there, and whether the account is being made. Hold the lock."""
    statement = f"INSERT INTO {TABLE} (account, sequence, making) VALUES (%s, %s, %s) "  # noqa: S608
    statement += "ON DUPLICATE KEY UPDATE sequence = %s, making = %s"
    session.run(statement, account, sequence, making, sequence, making, needs=NEEDS_TABLE)


@contextmanager
def locked(session: MySQLSession, account: str, patience: float | None = None) -> Iterator[bool]:
    """Be the only one who changes this account, after ``patience`` seconds by ending whoever else is at it.

    False where that is another admin's session. On an error, close the session.
    """
    name = f"keyturn:{account}"
    yield _free(session, name, PATIENCE if patience is None else patience) or (
        _ended(session, name) and _free(session, name, PATIENCE)
    )
    session.run("DO RELEASE_LOCK(%s)", name)


def _free(session: MySQLSession, name: str, patience: float) -> bool:
    return bool(session.first("SELECT GET_LOCK(%s, %s)", name, patience) == 1)


def _ended(session: MySQLSession, name: str) -> bool:
    """End the connection that holds the lock; False where that is another account's, and the server forbids it."""
    holder = session.first("SELECT IS_USED_LOCK(%s)", name)
    try:
        session.run("KILL %s", int(holder or 0))
    except ServerError as error:
        if error.code not in (NO_SUCH_THREAD, NOT_YOUR_THREAD):
            raise
        return error.code == NO_SUCH_THREAD
    return True
