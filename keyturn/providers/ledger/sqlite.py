"""The ledger in a SQLite file on this machine, written by many threads and processes.

An append only inserts rows; leaves are hashed when a checkpoint is made. The file is in WAL mode, and every commit
waits for the disk.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

from keyturn.core.errors import Conflict, Rewritten, Unavailable, Unrecorded
from keyturn.core.ports.ledger import Entry, NewestVersion
from keyturn.ledger.entries import encode, leaves_of, missing_tails
from keyturn.ledger.ports import Tiles
from keyturn.ledger.storage.group_commit import GroupCommit
from keyturn.ledger.versions import CUT, CUT_INDEX, DONE, INDEX, OF_VERSION, SECRET_KEY, newest_by_secret
from keyturn.providers.ledger.sqlite_file import (
    UNREACHED,
    NotOurs,
    code_of,
    connect,
    connect_copy,
    from_sqlite,
    patiently,
)

INSERT_ONE: Final = "INSERT INTO entries (entry) VALUES (?)"
ROWS: Final = 64
INSERT_ROWS: Final = INSERT_ONE.replace("(?)", ", ".join(["(?)"] * ROWS))
"""SQLite numbers the rows consecutively after the largest number. Many at once take a fifth less time."""
SIZE: Final = "SELECT coalesce(max(sequence), 0) FROM entries"
TAILS: Final = "SELECT sequence, entry FROM entries WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
FIND: Final = "SELECT entry FROM entries WHERE entry IN ({})"
CHECKPOINTS: Final = "SELECT note FROM checkpoints ORDER BY number"
NEWEST: Final = "SELECT note FROM checkpoints ORDER BY number DESC LIMIT 1"
TILE: Final = "SELECT hashes FROM tiles WHERE level = ? AND number = ?"
KEEP_TILE: Final = "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)"
KEEP_CHECKPOINT: Final = "INSERT INTO checkpoints (size, note) VALUES (?, ?)"
_PATH: Final = f"substr(entry, instr(entry, '{SECRET_KEY}') + {len(SECRET_KEY)})"
OF_SECRET: Final = f"substr({_PATH}, 1, instr({_PATH}, '\"') - 1)"
TELLS_VERSION: Final = "(" + " OR ".join(f"instr(entry, '{done}') > 0" for done in DONE) + ")"
TELLS_CUT: Final = f"(instr(entry, '{CUT}') > 0 AND instr(entry, '{OF_VERSION}') = 0)"
INDEXED: Final = tuple(
    f"CREATE INDEX IF NOT EXISTS {index} ON entries ({OF_SECRET}) WHERE {condition}"
    for index, condition in ((INDEX, TELLS_VERSION), (CUT_INDEX, TELLS_CUT))
)
NEWEST_VERSION, NEWEST_CUT = (
    f"SELECT sequence, entry FROM entries WHERE {condition} AND {OF_SECRET} = ? ORDER BY sequence DESC LIMIT 1"  # noqa: S608
    for condition in (TELLS_VERSION, TELLS_CUT)
)

FEW: Final = 1_000
LAST: Final = (1 << 63) - 1
FAILURES: Final = (sqlite3.Error, OSError, NotOurs)


class SqliteLedger:
    """A :class:`keyturn.ledger.ports.StoredLedger` in one file (0600), which first use creates.

    ``patience`` is how long, in seconds, a write waits for other processes.
    """

    def __init__(self, file: Path, origin: str, *, patience: float) -> None:
        self.origin = origin
        self.address = str(file)
        self._file = file
        self._patience = patience
        self._kept: _Session | None = None

    def append(self, entries: Sequence[Entry]) -> int | None:
        return self._session.group_commit.add([encode(entry) for entry in entries]) if entries else None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        return self._session.append_missing([encode(entry) for entry in entries])

    def try_writing(self) -> None:
        self._session.try_writing()

    def size(self) -> int:
        return int(self._session.one(SIZE) or 0)

    def newest(self) -> str:
        return _text(self._session.one(NEWEST) or b"")

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        self._session.index()
        names = sorted(set(secrets))
        batches = [names[begun : begun + FEW] for begun in range(0, len(names), FEW)]

        def newest(query: str) -> Iterator[tuple[int, bytes]]:
            return (row for batch in batches for row in self._session.each(query, batch))

        return newest_by_secret(newest(NEWEST_VERSION), newest(NEWEST_CUT))

    def tile(self, level: int, number: int) -> bytes:
        return bytes(self._session.one(TILE, level, number) or b"")

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        return leaves_of(self.tails(first, last))

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        if last is not None and last - first < FEW:
            yield from self._session.rows(TAILS, first, last)
            return
        with self._reading() as connection:
            yield from connection.execute(TAILS, (first, LAST if last is None else last))

    def checkpoints(self) -> Iterator[str]:
        with self._reading() as connection:
            yield from (_text(note) for (note,) in connection.execute(CHECKPOINTS))

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        self._session.keep(note, size, tiles, after)

    def close(self) -> None:
        if self._kept:
            self._session.close()

    @property
    def _session(self) -> "_Session":
        # A child using its parent's connection would damage the file: SQLite's locks are not inherited.
        if self._kept is None or self._kept.process != os.getpid():
            self._kept = _Session(self._file, self._patience)
        return self._kept

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = connect(self._file, self._patience)
            yield connection
        except FAILURES as error:
            raise from_sqlite(Unavailable, error, "read", self._file) from None
        finally:
            if connection:
                connection.close()


class SqliteCopy:
    """A :class:`keyturn.ledger.ports.LedgerSource`: a ledger's file, or a copy of one, read unchanged.

    It ignores concurrent writes, and serves one thread. Reading raises Rewritten if the file is damaged or not a
    ledger, and Unavailable.
    """

    def __init__(self, file: Path) -> None:
        self.file = self._file = file
        self._connection: sqlite3.Connection | None = None
        self._notices = False
        self._stood = (0, 0, 0)

    def __enter__(self) -> "SqliteCopy":
        if not self._file.is_file():
            raise Unavailable("read", f"the ledger {self._file}", "there is no such file", "Check its path")
        with self._telling():
            self._stood = _state(self._file)
            self._connection, self._notices = connect_copy(self._file)
            self._connection.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    def size(self) -> int:
        return int(next(self._rows(SIZE))[0])

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        return leaves_of(self.tails(first, last))

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        return self._rows(TAILS, first, LAST if last is None else last)

    def checkpoints(self) -> Iterator[str]:
        return (_text(note) for (note,) in self._rows(CHECKPOINTS))

    def tile(self, level: int, number: int) -> bytes:
        hashes = next(self._rows(TILE, level, number), (b"",))[0]
        return hashes if isinstance(hashes, bytes) else b""

    def _rows(self, query: str, *values: int) -> Iterator[Any]:
        with self._telling():
            if self._connection is None:
                raise Unavailable("read", f"the ledger {self._file}", "it is not open", "Open it in a with statement")
            yield from self._connection.execute(query, values)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self._check_unchanged()
            unread = isinstance(error, OSError) or (isinstance(error, sqlite3.Error) and code_of(error) in UNREACHED)
            raise from_sqlite(Unavailable if unread else Rewritten, error, "read", self._file) from None
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        """Raise Unavailable if the file changed while it was read as immutable."""
        if self._connection and not self._notices and self._stood != _state(self._file):
            hint = "Read it again"
            raise Unavailable("read", f"the ledger {self._file}", "it was written while it was read", hint) from None


class _Session:
    def __init__(self, file: Path, patience: float) -> None:
        self.process = os.getpid()
        self.group_commit = GroupCommit(self._append)
        self._file = file
        self._path = str(file)
        self._patience = patience
        self._turn = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._indexed = False

    def one(self, query: str, *values: int) -> Any:
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None

    def rows(self, query: str, *values: int) -> list[Any]:
        with self._turn:
            try:
                connection = self._opened()
                return patiently(lambda: connection.execute(query, values).fetchall(), self._patience)
            except FAILURES as error:
                self._drop()
                raise from_sqlite(Unavailable, error, "read", self._file) from None

    def each(self, query: str, values: Sequence[str]) -> list[Any]:
        with self._turn:
            try:
                connection = self._opened()
                return [row for value in values for row in connection.execute(query, (value,)).fetchall()]
            except FAILURES as error:
                self._drop()
                raise from_sqlite(Unavailable, error, "read", self._file) from None

    def index(self) -> None:
        if not self._indexed:
            with suppress(Unrecorded), self._transaction("make an index in") as connection:
                for index in INDEXED:
                    connection.execute(index)
            self._indexed = True

    def keep(self, note: str, size: int, tiles: Tiles, after: str) -> None:
        with self._transaction("keep a checkpoint in") as connection:
            newest = connection.execute(NEWEST).fetchone()
            if _text(newest[0] if newest else b"") != after:
                raise Conflict("keep", "a checkpoint", "another one was made meanwhile", "Make it again")
            rows = [(level, number, hashes) for (level, number), hashes in tiles.items()]
            connection.executemany(KEEP_TILE, rows)
            connection.execute(KEEP_CHECKPOINT, (size, note))

    def close(self) -> None:
        with self._turn:
            self._drop()

    def append_missing(self, tails: Sequence[str]) -> int:
        with self._transaction("write to") as connection:
            stored: list[str] = []
            distinct = list(dict.fromkeys(tails))
            for begun in range(0, len(distinct), ROWS):
                some = distinct[begun : begun + ROWS]
                rows = connection.execute(FIND.format(", ".join("?" * len(some))), some)
                stored += [bytes(tail).decode() for (tail,) in rows]
            lacking = missing_tails(tails, stored)
            self._insert(connection, lacking)
        return len(lacking)

    def try_writing(self) -> None:
        with self._transaction("write to") as connection:
            # SQLite writes the page although nothing changes.
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            connection.execute(f"PRAGMA user_version = {int(version)}")

    def _append(self, tails: Sequence[str]) -> int:
        with self._transaction("write to") as connection:
            return self._insert(connection, tails)

    @staticmethod
    def _insert(connection: sqlite3.Connection, tails: Sequence[str]) -> int:
        first = connection.execute(SIZE).fetchone()[0] + 1
        if first > LAST - len(tails):
            raise NotOurs("its numbers were used up", "Verify it, then bring the newest copy back")
        whole = len(tails) // ROWS * ROWS
        for begun in range(0, whole, ROWS):
            connection.execute(INSERT_ROWS, tails[begun : begun + ROWS])
        connection.executemany(INSERT_ONE, [(tail,) for tail in tails[whole:]])
        return int(first) + len(tails) - 1

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                connection = self._opened()
                patiently(lambda: connection.execute("BEGIN IMMEDIATE"), self._patience)
                yield connection
                connection.execute("COMMIT")
            except FAILURES as error:
                self._drop()
                raise from_sqlite(Unrecorded, error, doing, self._file) from None
            except BaseException:
                self._drop()
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection and self._identity == _identity(self._path):
            return self._connection
        self._drop()
        self._connection = connect(self._file, self._patience)
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._identity = _identity(self._path)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()


def _state(file: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def _identity(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _text(note: Any) -> str:
    return note.decode(errors="replace") if isinstance(note, bytes) else ""
