"""The fence around the accounts of a MySQL or MariaDB server: one writer at a time, never an older rotation.

ALTER USER commits the open transaction and releases row locks. The writer therefore holds a lock of its connection
(GET_LOCK) while it reads the sequence number and makes the change. If a suspended worker holds the lock, the next one
waits briefly and ends that connection (KILL). Only then does the server release the lock, so the suspended worker's
ALTER USER fails.

The number is stored before the change. A worker that dies in between leaves a higher number, which refuses only older
rotations.
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

PATIENCE: Final = 3  # seconds
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
    """The last rotation that wrote, and whether creating the account was started and not finished."""

    sequence: int = 0
    making: bool = False


def read_fence(session: MySQLSession, account: str) -> FenceEntry:
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
    statement = f"INSERT INTO {TABLE} (account, sequence, making) VALUES (%s, %s, %s) "  # noqa: S608
    statement += "ON DUPLICATE KEY UPDATE sequence = %s, making = %s"
    session.run(statement, account, sequence, making, sequence, making, needs=NEEDS_TABLE)


@contextmanager
def locked(session: MySQLSession, account: str, patience: float | None = None) -> Iterator[bool]:
    """Hold the account's lock, after ``patience`` seconds by ending the session that holds it.

    Yields False if that is another admin's. On an error, close the session.
    """
    name = f"keyturn:{account}"
    yield _free(session, name, PATIENCE if patience is None else patience) or (
        _ended(session, name) and _free(session, name, PATIENCE)
    )
    session.run("DO RELEASE_LOCK(%s)", name)


def _free(session: MySQLSession, name: str, patience: float) -> bool:
    return bool(session.first("SELECT GET_LOCK(%s, %s)", name, patience) == 1)


def _ended(session: MySQLSession, name: str) -> bool:
    """End the connection that holds the lock; False if it is another account's and the server forbids it."""
    holder = session.first("SELECT IS_USED_LOCK(%s)", name)
    try:
        session.run("KILL %s", int(holder or 0))
    except ServerError as error:
        if error.code not in (NO_SUCH_THREAD, NOT_YOUR_THREAD):
            raise
        return error.code == NO_SUCH_THREAD
    return True
