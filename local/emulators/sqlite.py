"""The file that an emulator remembers in: SQLite that only its owner may read, for one caller at a time."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.support.files import private_directory


class Database:
    """One SQLite file with this schema; what an emulator remembers in it is a subclass."""

    def __init__(self, path: Path, schema: str) -> None:
        private_directory(path.parent)
        # SQLite gives its journal the mode of the database, so it has to be right before the first write.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(schema)

    def close(self) -> None:
        """Wait for the transaction under way, then let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One caller at a time; all it did is kept, or nothing if it raises."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Every row that the statement gives, inside a transaction or as one of its own."""
        with self._lock:
            return self._db.execute(statement, values).fetchall()
