"""Service accounts, the public halves of their keys, and when each key was used: one SQLite file."""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from local.emulators.sqlite import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    email TEXT PRIMARY KEY, project TEXT NOT NULL, unique_id TEXT UNIQUE NOT NULL, disabled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, email TEXT NOT NULL, certificate TEXT NOT NULL, algorithm TEXT NOT NULL, origin TEXT NOT NULL,
    managed TEXT NOT NULL, created REAL NOT NULL, ends REAL, disabled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS uses (key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS of_key ON uses (key, at);
"""


@dataclass(frozen=True)
class Account:
    """One service account."""

    email: str
    project: str
    unique_id: str
    disabled: bool = False


@dataclass(frozen=True)
class Key:
    """One key of an account, without its private half; times are in seconds since 1970."""

    id: str
    email: str
    certificate: str
    algorithm: str
    origin: str
    managed: str
    created: float
    ends: float | None
    disabled: bool = False


class State(Database):
    """What is remembered. Every access happens inside :meth:`transaction`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "iam.sqlite", SCHEMA)

    def account(self, name: str) -> Account | None:
        """The account of this address or unique id."""
        rows = self._run("SELECT * FROM accounts WHERE email = ? OR unique_id = ?", name, name)
        return _account(rows[0]) if rows else None

    def put_account(self, account: Account) -> None:
        """Keep the account, new or changed."""
        self._run("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)", *astuple(account))

    def keys(self, email: str) -> list[Key]:
        """The account's keys, oldest first."""
        return [_key(row) for row in self._run("SELECT * FROM keys WHERE email = ? ORDER BY created, id", email)]

    def put_key(self, key: Key) -> None:
        """Keep the key, new or changed."""
        row = astuple(key)
        self._run(f"INSERT OR REPLACE INTO keys VALUES ({', '.join('?' for _ in row)})", *row)  # noqa: S608

    def drop_key(self, key: Key) -> None:
        """Forget the key; when it was used stays known."""
        self._run("DELETE FROM keys WHERE id = ?", key.id)

    def use(self, key: Key, at: float) -> None:
        """Remember that it signed in."""
        self._run("INSERT INTO uses VALUES (?, ?)", key.id, at)

    def uses(self, key_id: str, after: float, until: float) -> list[tuple[float, float, int]]:
        """For each second with uses: its beginning, the last use in it, and how many there were; newest first."""
        return self._run(
            "SELECT CAST(at AS INTEGER) AS second, max(at), count(*) FROM uses "
            "WHERE key = ? AND at > ? AND at <= ? GROUP BY second ORDER BY second DESC",
            key_id,
            after,
            until,
        )


def _account(row: tuple[Any, ...]) -> Account:
    email, project, unique_id, disabled = row
    return Account(email, project, unique_id, bool(disabled))


def _key(row: tuple[Any, ...]) -> Key:
    identifier, email, certificate, algorithm, origin, managed, created, ends, disabled = row
    return Key(identifier, email, certificate, algorithm, origin, managed, created, ends, bool(disabled))
