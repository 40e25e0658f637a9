"""What the emulator remembers, in one SQLite file that only its owner can read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.emulators.gcp_secret_manager.errors import not_found
from local.emulators.gcp_secret_manager.messages import (
    DESTROYED,
    Pb,
    Secret,
    SecretVersion,
    fresh_etag,
    seconds_of,
    stamp,
)
from local.emulators.gcp_secret_manager.resource_names import SecretName
from local.emulators.sqlite import Database

_SCHEMA: Final = """
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS secrets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL, id TEXT NOT NULL, message BLOB NOT NULL, policy BLOB, expires REAL,
    UNIQUE (project, id)
);
CREATE TABLE IF NOT EXISTS versions (
    secret INTEGER NOT NULL REFERENCES secrets ON DELETE CASCADE,
    number INTEGER NOT NULL, message BLOB NOT NULL, payload BLOB, checksum INTEGER, destroys REAL,
    PRIMARY KEY (secret, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON secrets (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS destroying ON versions (destroys) WHERE destroys IS NOT NULL;
"""


@dataclass
class StoredSecret:
    """A secret as it lies in the table; ``seq`` grows with every secret created."""

    seq: int
    name: SecretName
    message: Pb


@dataclass
class StoredVersion:
    """A version without its payload."""

    secret: int
    number: int
    message: Pb


class State(Database):
    """Secrets, versions and policies. Every access happens inside :meth:`transaction`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "secrets.sqlite", _SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One caller at a time; all it did is kept, or nothing if it raises. What is due to go goes first."""
        with super().transaction():
            self._sweep(time.time())
            yield

    def _sweep(self, now: float) -> None:
        self._db.execute("DELETE FROM secrets WHERE expires <= ?", (now,))
        due = self._db.execute("SELECT secret, number, message FROM versions WHERE destroys <= ?", (now,)).fetchall()
        for secret, number, message in due:
            self.destroy(StoredVersion(secret, number, SecretVersion.FromString(message)))

    # secrets

    def find_secret(self, name: SecretName) -> StoredSecret | None:
        """The secret of this name, if there is one."""
        row = self._db.execute(
            "SELECT seq, message FROM secrets WHERE project = ? AND id = ?", (name.home, name.secret)
        ).fetchone()
        return StoredSecret(row[0], name, Secret.FromString(row[1])) if row else None

    def secret(self, name: SecretName) -> StoredSecret:
        """The secret of this name, or NOT_FOUND."""
        return self.find_secret(name) or not_found(f"Secret [{name}] not found.")

    def secrets(self, home: str, before: int | None) -> Iterator[tuple[int, Pb]]:
        """The secrets of one home with their sequence numbers, newest first, from below ``before``."""
        rows = self._db.execute(
            "SELECT seq, message FROM secrets WHERE project = ? AND seq < ? ORDER BY seq DESC",
            (home, _end(before)),
        )
        return ((seq, Secret.FromString(message)) for seq, message in rows)

    def count_secrets(self, home: str) -> int:
        """How many secrets one home has."""
        return self._number("SELECT count(*) FROM secrets WHERE project = ?", home)

    def create_secret(self, name: SecretName, message: Pb) -> None:
        """Keep a new secret."""
        self._db.execute(
            "INSERT INTO secrets (project, id, message, expires) VALUES (?, ?, ?, ?)",
            (name.home, name.secret, message.SerializeToString(), _expiry(message)),
        )

    def update_secret(self, secret: StoredSecret) -> None:
        """Keep the secret's changed message."""
        self._db.execute(
            "UPDATE secrets SET message = ?, expires = ? WHERE seq = ?",
            (secret.message.SerializeToString(), _expiry(secret.message), secret.seq),
        )

    def delete_secret(self, secret: StoredSecret) -> None:
        """Forget the secret and all its versions."""
        self._db.execute("DELETE FROM secrets WHERE seq = ?", (secret.seq,))

    def policy(self, secret: StoredSecret) -> bytes | None:
        """The secret's IAM policy, serialized; None where none was ever set."""
        row = self._db.execute("SELECT policy FROM secrets WHERE seq = ?", (secret.seq,)).fetchone()
        return None if row[0] is None else bytes(row[0])

    def set_policy(self, secret: StoredSecret, policy: bytes) -> None:
        """Keep the secret's IAM policy."""
        self._db.execute("UPDATE secrets SET policy = ? WHERE seq = ?", (policy, secret.seq))

    # versions

    def newest_version(self, secret: StoredSecret) -> int:
        """The number of the newest version, 0 where there is none. Numbers are never used again."""
        return self._number("SELECT coalesce(max(number), 0) FROM versions WHERE secret = ?", secret.seq)

    def find_version(self, secret: StoredSecret, number: int) -> StoredVersion | None:
        """The version of this number, if there is one."""
        row = self._db.execute(
            "SELECT message FROM versions WHERE secret = ? AND number = ?", (secret.seq, number)
        ).fetchone()
        return StoredVersion(secret.seq, number, SecretVersion.FromString(row[0])) if row else None

    def versions(self, secret: StoredSecret, before: int | None) -> Iterator[tuple[int, Pb]]:
        """The secret's versions with their numbers, newest first, from below ``before``."""
        rows = self._db.execute(
            "SELECT number, message FROM versions WHERE secret = ? AND number < ? ORDER BY number DESC",
            (secret.seq, _end(before)),
        )
        return ((number, SecretVersion.FromString(message)) for number, message in rows)

    def add_version(self, version: StoredVersion, payload: bytes, checksum: int) -> None:
        """Keep a new version."""
        self._db.execute(
            "INSERT INTO versions (secret, number, message, payload, checksum) VALUES (?, ?, ?, ?, ?)",
            (version.secret, version.number, version.message.SerializeToString(), payload, checksum),
        )

    def update_version(self, version: StoredVersion) -> None:
        """Keep the version's changed message."""
        message = version.message
        destroys = seconds_of(message.scheduled_destroy_time) if message.HasField("scheduled_destroy_time") else None
        self._db.execute(
            "UPDATE versions SET message = ?, destroys = ? WHERE secret = ? AND number = ?",
            (message.SerializeToString(), destroys, version.secret, version.number),
        )

    def payload(self, version: StoredVersion) -> tuple[bytes, int]:
        """The version's payload and its checksum."""
        row: tuple[bytes, int] = self._db.execute(
            "SELECT payload, checksum FROM versions WHERE secret = ? AND number = ?", (version.secret, version.number)
        ).fetchone()
        return row

    def destroy(self, version: StoredVersion) -> None:
        """Erase the payload for good."""
        version.message.state = DESTROYED
        version.message.etag = fresh_etag()
        version.message.destroy_time.CopyFrom(stamp())
        version.message.ClearField("scheduled_destroy_time")
        self.update_version(version)
        self._db.execute(
            "UPDATE versions SET payload = NULL, checksum = NULL WHERE secret = ? AND number = ?",
            (version.secret, version.number),
        )

    def _number(self, statement: str, *arguments: Any) -> int:
        number: int = self._db.execute(statement, arguments).fetchone()[0]
        return number


def _expiry(message: Pb) -> float | None:
    return seconds_of(message.expire_time) if message.HasField("expire_time") else None


def _end(before: int | None) -> int:
    return 2**62 if before is None else before
