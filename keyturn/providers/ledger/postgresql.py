"""The ledger in a PostgreSQL database that several machines write.

Each append is one transaction, and an advisory lock serialises the writers. Leaves are hashed when a checkpoint is
made.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, Final

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from keyturn.core.errors import Conflict, Unavailable, Unrecorded
from keyturn.core.ports.ledger import Entry, NewestVersion
from keyturn.ledger.entries import encode, leaves_of, missing_tails
from keyturn.ledger.ports import Tiles
from keyturn.ledger.storage.group_commit import GroupCommit
from keyturn.ledger.versions import newest_by_secret
from keyturn.providers.ledger.postgresql_schema import (
    HAS_INDEX,
    INDEXED,
    LOCK,
    OF_SECRET,
    TELLS_CUT,
    TELLS_VERSION,
    from_psycopg,
    prepare_schema,
)
from keyturn.providers.ledger.sqlite_file import NotOurs
from keyturn.providers.libpq import guarded

SHORTEST: Final = 2  # seconds: libpq's shortest connection timeout
PAGE: Final = 5_000
SIZE: Final = "SELECT coalesce(max(sequence), 0) FROM keyturn_ledger.entries"
TAILS: Final = """
SELECT sequence, entry FROM keyturn_ledger.entries WHERE sequence BETWEEN %s AND %s ORDER BY sequence LIMIT %s
"""
CHECKPOINTS: Final = "SELECT note FROM keyturn_ledger.checkpoints ORDER BY number"
NEWEST: Final = "SELECT note FROM keyturn_ledger.checkpoints ORDER BY number DESC LIMIT 1"
TILE: Final = "SELECT hashes FROM keyturn_ledger.tiles WHERE level = %s AND number = %s"
KEEP_TILES: Final = """
INSERT INTO keyturn_ledger.tiles VALUES %s ON CONFLICT (level, number) DO UPDATE SET hashes = EXCLUDED.hashes
"""
KEEP_CHECKPOINT: Final = """
INSERT INTO keyturn_ledger.checkpoints SELECT coalesce(max(number), 0) + 1, %s, %s FROM keyturn_ledger.checkpoints
"""
IN_A_ROW: Final = f"SELECT pg_advisory_xact_lock({LOCK});"
APPEND: Final = """
WITH newest AS (SELECT coalesce(max(sequence), 0) AS number FROM keyturn_ledger.entries),
added AS (
    INSERT INTO keyturn_ledger.entries
    SELECT number + place, tail FROM newest, unnest(%(tails)s::text[]) WITH ORDINALITY AS given (tail, place)
    RETURNING sequence
)
SELECT count(*), max(sequence) FROM added
"""
FIND: Final = """
SELECT max(sequence) FROM keyturn_ledger.entries
 WHERE sequence > %(seen)s AND entry = %(tail)s
"""

STORED: Final = "SELECT entry FROM keyturn_ledger.entries WHERE entry = ANY(%s)"

NEWEST_VERSIONS, NEWEST_CUTS = (
    f"""
SELECT found.sequence, found.entry FROM unnest(%s::text[]) AS wanted (path) CROSS JOIN LATERAL (
    SELECT sequence, entry FROM keyturn_ledger.entries WHERE {condition} AND {OF_SECRET} = wanted.path
     ORDER BY sequence DESC LIMIT 1
) AS found
"""  # noqa: S608  made of constants alone
    for condition in (TELLS_VERSION, TELLS_CUT)
)

SETTINGS: Final = """
SELECT set_config('statement_timeout', %s, false);
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""

FAILURES: Final = (psycopg2.Error, NotOurs)


class PostgresqlLedger:
    """A :class:`keyturn.ledger.ports.StoredLedger` in the schema ``keyturn_ledger``, created on first use.

    ``patience`` is the timeout in seconds for the server and for other writers. A broken connection is replaced. A
    write is sent again only after a lookup shows that it did not arrive.
    """

    def __init__(self, address: str, origin: str, *, patience: float) -> None:
        self.origin = origin
        self.address = address
        self._address = address
        self._patience = patience
        self._kept: _Session | None = None

    def append(self, entries: Sequence[Entry]) -> int | None:
        return self._session.group_commit.add([encode(entry) for entry in entries]) if entries else None

    def append_missing(self, entries: Sequence[Entry]) -> int:
        return self._session.append_missing([encode(entry) for entry in entries])

    def try_writing(self) -> None:
        self._session.try_writing()

    def size(self) -> int:
        return int(self._session.rows(SIZE)[0][0])

    def newest(self) -> str:
        return next((str(note) for (note,) in self._session.rows(NEWEST)), "")

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        names = sorted(set(secrets))
        self._session.index()
        batches = [names[begun : begun + PAGE] for begun in range(0, len(names), PAGE)]

        def newest(query: str) -> Iterator[tuple[int, bytes]]:
            rows = (row for batch in batches for row in self._session.rows(query, batch))
            return ((number, entry.encode()) for number, entry in rows)

        return newest_by_secret(newest(NEWEST_VERSIONS), newest(NEWEST_CUTS))

    def tile(self, level: int, number: int) -> bytes:
        return next((bytes(hashes) for (hashes,) in self._session.rows(TILE, level, number)), b"")

    def leaves(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        return leaves_of(self.tails(first, last))

    def tails(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        last = self.size() if last is None else last
        while first <= last:
            page = self._session.rows(TAILS, first, last, PAGE)
            yield from ((number, entry.encode()) for number, entry in page)
            if len(page) < PAGE:
                return
            first = page[-1][0] + 1

    def checkpoints(self) -> Iterator[str]:
        return (str(note) for (note,) in self._session.rows(CHECKPOINTS))

    def keep(self, note: str, size: int, tiles: Tiles, *, after: str) -> None:
        self._session.keep(note, size, tiles, after)

    def close(self) -> None:
        if self._kept:
            self._session.close()

    @property
    def _session(self) -> "_Session":
        # Processes must not share a connection: their messages would mix.
        if self._kept is None or self._kept.process != os.getpid():
            self._kept = _Session(self._address, self._patience)
        return self._kept


class _Session:
    def __init__(self, address: str, patience: float) -> None:
        self.process = os.getpid()
        self.group_commit = GroupCommit(self._append)
        self._address = address
        self._patience = patience
        self._turn = RLock()
        self._connection: Connection | None = None
        self._indexed = False
        self._seen = -1
        """The newest entry's number when last read; -1 before the first connection."""

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self._turn:
            reused = self._connection is not None
            try:
                return self._asked(query, values)
            except FAILURES as error:
                if not (reused and self._broken()):
                    raise from_psycopg(Unavailable, error, "read", self._address) from None
            try:
                return self._asked(query, values)
            except FAILURES as error:
                raise from_psycopg(Unavailable, error, "read", self._address) from None

    def index(self) -> None:
        """Create missing indexes. Raises Unavailable if the role may not: reading all entries takes long."""
        if not self._indexed and self.rows(HAS_INDEX) == [(False,)]:
            self.rows(f"BEGIN; {IN_A_ROW} {INDEXED}; COMMIT; SELECT true")
        self._indexed = True

    def keep(self, note: str, size: int, tiles: Tiles, after: str) -> None:
        with self._in_a_row("keep a checkpoint in") as cursor:
            cursor.execute(NEWEST)
            if next((newest for (newest,) in cursor), "") != after:
                raise Conflict("keep", "a checkpoint", "another one was made meanwhile", "Make it again")
            rows = [(level, number, hashes) for (level, number), hashes in tiles.items()]
            execute_values(cursor, KEEP_TILES, rows, page_size=PAGE)
            cursor.execute(KEEP_CHECKPOINT, (size, note))

    def close(self) -> None:
        with self._turn:
            self._drop()

    def append_missing(self, tails: Sequence[str]) -> int:
        with self._in_a_row("write to") as cursor:
            cursor.execute(STORED, (list(tails),))
            lacking = missing_tails(tails, [tail for (tail,) in cursor.fetchall()])
            if lacking:
                cursor.execute(APPEND, {"tails": lacking})
                self._written(cursor.fetchall(), len(lacking))
        return len(lacking)

    def try_writing(self) -> None:
        with self._in_a_row("write to") as cursor:
            cursor.execute(APPEND, {"tails": ["{}"]})
            cursor.execute("ROLLBACK")
            cursor.execute("BEGIN")

    def _append(self, tails: Sequence[str]) -> int | None:
        arguments = {"tails": list(tails)}
        with self._turn:
            reused = self._connection is not None
            try:
                return self._written(self._asked(IN_A_ROW + APPEND, arguments), len(tails))
            except FAILURES as error:
                if not (reused and self._broken()):
                    raise from_psycopg(Unrecorded, error, "write to", self._address) from None
            return self._append_unless_written(tails)

    def _append_unless_written(self, tails: Sequence[str]) -> int | None:
        """Write the entries unless they arrived before the connection broke; None if they did."""
        arguments = {"tails": list(tails), "tail": tails[0], "seen": self._seen}
        with self._in_a_row("write to") as cursor:
            cursor.execute(FIND, arguments)
            if cursor.fetchall() == [(None,)]:
                cursor.execute(APPEND, arguments)
                return self._written(cursor.fetchall(), len(tails))
        return None

    def _written(self, rows: list[Any], wanted: int) -> int:
        ((count, newest),) = rows
        if count != wanted:
            raise NotOurs(
                "a rule or a trigger keeps entries out", "Remove it: nothing else may write to keyturn_ledger"
            )
        self._seen = int(newest)
        return self._seen

    @contextmanager
    def _in_a_row(self, doing: str) -> Iterator[Any]:
        """A transaction under the writers' lock; an error drops the connection."""
        with self._turn:
            self._drop_if_broken()
            try:
                with self._opened().cursor() as cursor:
                    cursor.execute(f"BEGIN;{IN_A_ROW}")
                    yield cursor
                    cursor.execute("COMMIT")
            except FAILURES as error:
                self._drop()
                raise from_psycopg(Unrecorded, error, doing, self._address) from None
            except BaseException:
                self._drop()
                raise

    def _asked(self, query: str, values: Any) -> list[Any]:
        with self._opened().cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    def _opened(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = None
            connection = self._connect()
            try:
                prepare_schema(connection)
                with connection.cursor() as cursor:
                    cursor.execute(SIZE)
                    ((newest,),) = cursor.fetchall()
            except BaseException:
                connection.close()
                raise
            self._connection, self._seen = connection, newest if self._seen < 0 else self._seen
        return self._connection

    def _connect(self) -> Connection:
        connection: Connection = psycopg2.connect(
            self._address,
            connect_timeout=max(SHORTEST, round(self._patience)),
            # Detects a dead server as soon as one that does not answer.
            keepalives_idle=SHORTEST,
            keepalives_interval=SHORTEST,
            keepalives_count=3,
            tcp_user_timeout=round(self._patience * 1000),
            application_name="keyturn-ledger",
            client_encoding="UTF8",
            **guarded(self._address, os.environ),
        )
        # READ COMMITTED: a snapshot from before the lock would miss newer entries.
        connection.set_session(isolation_level=ISOLATION_LEVEL_READ_COMMITTED, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS, (str(round(self._patience * 1000)),))
        return connection

    def _broken(self) -> bool:
        broken = self._connection is None or bool(self._connection.closed)
        if broken:
            self._drop()
        return broken

    def _drop_if_broken(self) -> None:
        with suppress(*FAILURES):
            if self._connection is not None:
                self._asked("SELECT 1", ())
                return
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
