"""The file of a SQLite ledger: creation, opening, and SQLite's errors as Keyturn's."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from keyturn.core.errors import KeyturnError
from keyturn.settings.directories import make_private

T = TypeVar("T")
APPLICATION: Final = 0x4B_54_4C_47
SCHEMA: Final = 1
PAGE_SIZE: Final = 8192
"""Bytes. Batches are 5 % faster than with SQLite's 4096, and single entries as fast."""

TABLES: Final = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL)",
    "CREATE TABLE checkpoints (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, note TEXT NOT NULL)",
    "CREATE TABLE tiles (level INTEGER, number INTEGER, hashes BLOB NOT NULL, PRIMARY KEY (level, number))"
    " WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)

PRIVATE_FILE: Final = 0o600
PATIENCE: Final = 10.0  # seconds
PAUSE: Final = 0.001  # seconds

ONE_USER: Final = (
    "A ledger in a file is for the processes of one user on one host; for more, use PostgreSQL: `keyturn ledger move`"
)
"""The remedy where a SQLite ledger, mode 0600, can't be opened."""
OWNED: Final = f"Check owner and mode of the file and its directory. {ONE_USER}"

REMEDIES: Final[Mapping[int, tuple[str, str]]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Make room on it"),
    sqlite3.SQLITE_READONLY: ("it can't be written", OWNED),
    sqlite3.SQLITE_PERM: ("it can't be written", OWNED),
    sqlite3.SQLITE_CANTOPEN: ("it can't be opened", OWNED),
    sqlite3.SQLITE_IOERR: ("the disk refuses it", "Make room on it, or see the system's log"),
    sqlite3.SQLITE_BUSY: ("others have kept it locked for too long", "Find the process that holds it with fuser"),
    sqlite3.SQLITE_LOCKED: ("others have kept it locked for too long", "Find the process that holds it with fuser"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "Keep it aside, and bring the newest copy back"),
    sqlite3.SQLITE_NOTADB: ("it is no SQLite file", "Keep it aside, or give the ledger another place"),
}

UNREACHED: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)

_CREATING: Final = Lock()


class _Bare(sqlite3.Connection):
    """A connection that closes when its last user is gone; from Python 3.13 on others warn then."""

    def __init__(self, uri: str, patience: float) -> None:
        super().__init__(uri, timeout=patience, isolation_level=None, check_same_thread=False, uri=True)
        self.text_factory = bytes

    def __del__(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


class NotOurs(Exception):
    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


def connect(file: Path, patience: float) -> sqlite3.Connection:
    """A connection to the ledger, created if missing. Raises sqlite3.Error, OSError and NotOurs."""
    # One at a time: closing a second descriptor would drop the locks that SQLite holds in this process.
    with _CREATING:
        _create(file)
        connection = _Bare(file.as_uri(), patience)
    try:
        if _empty(connection):
            _prepare(connection, patience)
        check_schema(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_copy(file: Path) -> tuple[sqlite3.Connection, bool]:
    """A read-only connection to a ledger or a copy, and whether it notices other writers."""
    beside = file.with_name(f"{file.name}-wal")
    # A WAL-mode file without its -wal file is complete; immutable keeps SQLite from creating files next to it.
    if beside.exists():
        try:
            return _checked(f"{file.as_uri()}?mode=ro"), True
        except sqlite3.OperationalError:
            if beside.stat().st_size:
                raise
    return _checked(f"{file.as_uri()}?immutable=1"), False


def _checked(uri: str) -> sqlite3.Connection:
    connection = _Bare(uri, PATIENCE)
    try:
        check_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_schema(connection: sqlite3.Connection) -> None:
    application, schema = _pragma(connection, "application_id"), _schema(connection)
    if application != APPLICATION:
        raise NotOurs("it is a database of something else", "Give the ledger another place: KEYTURN_LEDGER")
    if schema != SCHEMA:
        problem = f"its schema {schema} is not the {SCHEMA} of this version"
        raise NotOurs(problem, "Use the newest Keyturn that wrote it")
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone():
        raise NotOurs("a trigger or a view was added to it", "Verify it, then bring the newest copy back")


def patiently(ask: Callable[[], T], patience: float) -> T:
    """Retry ``ask`` for ``patience`` seconds while others hold the lock; SQLite's own timeout sleeps up to 0.1 s."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def from_sqlite(kind: type[KeyturnError], error: Exception, doing: str, file: Path) -> KeyturnError:
    match error:
        case NotOurs():
            problem, hint = str(error), error.hint
        case FileExistsError() | NotADirectoryError():
            problem, hint = "what should be its directory is a file", "Give the ledger another place: KEYTURN_LEDGER"
        case OSError():
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "Make room on the disk" if full else f"Check owner and mode of its directory. {ONE_USER}"
            problem = os.strerror(error.errno or 0).lower()
        case _:
            code = code_of(error)
            problem, hint = REMEDIES.get(code, (f"SQLite refuses it (code {code})", "Verify it: keyturn ledger verify"))
    return kind(doing, f"the ledger {file}", problem, hint)


def code_of(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _create(file: Path) -> None:
    if file.exists():
        return
    make_private(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))


def _prepare(connection: sqlite3.Connection, patience: float) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    # During a concurrent open SQLite refuses this at once, whatever its timeout.
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), patience)
    connection.execute("BEGIN IMMEDIATE")
    if _empty(connection):
        for statement in TABLES:
            connection.execute(statement)
    connection.execute("COMMIT")


def _empty(connection: sqlite3.Connection) -> bool:
    return _schema(connection) == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone()


def _schema(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
