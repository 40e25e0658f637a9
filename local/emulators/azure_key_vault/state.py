"""What the vault holds: one SQLite file that only its owner may read, whole after every commit."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.emulators.sqlite import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT, fold TEXT, name TEXT NOT NULL, deleted REAL, settles REAL NOT NULL, policy TEXT,
    PRIMARY KEY (kind, fold)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, fold TEXT, id TEXT, created INTEGER, updated INTEGER,
    enabled INTEGER, nbf INTEGER, exp INTEGER, tags TEXT, content_type TEXT, body TEXT, UNIQUE (kind, fold, id)
);
CREATE INDEX IF NOT EXISTS newest ON versions (kind, fold, seq);
"""

ENTRY: Final = "e.name, e.deleted, e.settles, e.policy"
VERSION: Final = (
    "v.id, v.created, v.updated, v.enabled, v.nbf, v.exp, v.tags, v.content_type, v.body"  # in the order of Version
)


@dataclass(frozen=True)
class Version:
    """One version of a secret or key; ``body`` is the secret's value or the key's material, times are in seconds."""

    id: str
    created: int
    updated: int
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] | None = None
    content_type: str | None = None
    body: str = field(default="", repr=False)


@dataclass(frozen=True)
class Entry:
    """A name in use: since when it is deleted, and until when its deletion or recovery is still under way."""

    name: str
    deleted: float | None = None
    settles: float = 0
    policy: dict[str, Any] | None = None


class State(Database):
    """Entries and versions by kind ("secrets", "keys") and name, whose case does not count."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "vault.sqlite", SCHEMA)

    def kept(self, name: str) -> str:
        """A random 32-byte key in hexadecimal, made the first time it is asked for."""
        self._run("INSERT OR IGNORE INTO settings VALUES (?, ?)", name, secrets.token_hex(32))
        return str(self._run("SELECT value FROM settings WHERE name = ?", name)[0][0])

    def entry(self, kind: str, name: str) -> Entry | None:
        """The entry of that name, deleted or not."""
        rows = self._run(f"SELECT {ENTRY} FROM entries e WHERE kind = ? AND fold = ?", kind, name.lower())  # noqa: S608
        return _entry(rows[0]) if rows else None

    def put_entry(self, kind: str, entry: Entry) -> None:
        """Make the entry, or replace it; the spelling of the first name stays."""
        self._run(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, fold) DO UPDATE SET "
            "deleted = excluded.deleted, settles = excluded.settles, policy = excluded.policy",
            kind,
            entry.name.lower(),
            entry.name,
            entry.deleted,
            entry.settles,
            _packed(entry.policy),
        )

    def drop(self, kind: str, name: str) -> None:
        """Forget the entry and every version of it."""
        self._run("DELETE FROM versions WHERE kind = ? AND fold = ?", kind, name.lower())
        self._run("DELETE FROM entries WHERE kind = ? AND fold = ?", kind, name.lower())

    def put_version(self, kind: str, name: str, version: Version) -> None:
        """Add the version as the newest, or replace the one with its id where it stands."""
        self._run(
            "INSERT INTO versions (kind, fold, id, created, updated, enabled, nbf, exp, tags, content_type, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, fold, id) DO UPDATE SET "
            "updated = excluded.updated, enabled = excluded.enabled, nbf = excluded.nbf, exp = excluded.exp, "
            "tags = excluded.tags, content_type = excluded.content_type, body = excluded.body",
            kind,
            name.lower(),
            version.id,
            version.created,
            version.updated,
            version.enabled,
            version.nbf,
            version.exp,
            _packed(version.tags),
            version.content_type,
            version.body,
        )

    def newest(self, kind: str, name: str) -> Version | None:
        """The version that is served where none is named."""
        rows = self._run(
            f"SELECT {VERSION} FROM versions v WHERE kind = ? AND fold = ? ORDER BY seq DESC LIMIT 1",  # noqa: S608
            kind,
            name.lower(),
        )
        return _version(rows[0]) if rows else None

    def version(self, kind: str, name: str, version: str) -> Version | None:
        """One version by its id."""
        rows = self._run(
            f"SELECT {VERSION} FROM versions v WHERE kind = ? AND fold = ? AND id = ?",  # noqa: S608
            kind,
            name.lower(),
            version,
        )
        return _version(rows[0]) if rows else None

    def history(self, kind: str, name: str) -> list[Version]:
        """Every version, oldest first."""
        rows = self._run(
            f"SELECT {VERSION} FROM versions v WHERE kind = ? AND fold = ? ORDER BY seq",  # noqa: S608
            kind,
            name.lower(),
        )
        return [_version(row) for row in rows]

    def versions(self, kind: str, name: str, after: str, limit: int) -> list[Version]:
        """Versions whose id is greater than ``after``, in the order of ids, as the service lists them."""
        rows = self._run(
            f"SELECT {VERSION} FROM versions v WHERE kind = ? AND fold = ? AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
            kind,
            name.lower(),
            after,
            limit,
        )
        return [_version(row) for row in rows]

    def entries(self, kind: str, now: float, after: str, limit: int, *, deleted: bool) -> list[tuple[Entry, Version]]:
        """Settled entries with their newest versions, in the order of names, after the name ``after``."""
        rows = self._run(
            f"SELECT {ENTRY}, {VERSION} FROM entries e JOIN versions v ON v.seq = "  # noqa: S608
            "(SELECT max(seq) FROM versions n WHERE n.kind = e.kind AND n.fold = e.fold) "
            "WHERE e.kind = ? AND (e.deleted IS NOT NULL) = ? AND e.settles <= ? AND e.fold > ? "
            "ORDER BY e.fold LIMIT ?",
            kind,
            deleted,
            now,
            after.lower(),
            limit,
        )
        return [(_entry(row[:4]), _version(row[4:])) for row in rows]

    def deleted_by(self, kind: str, moment: float) -> list[str]:
        """Names that had been deleted at that moment."""
        return [
            str(row[0]) for row in self._run("SELECT name FROM entries WHERE kind = ? AND deleted <= ?", kind, moment)
        ]


def _packed(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _entry(row: tuple[Any, ...]) -> Entry:
    name, deleted, settles, policy = row
    return Entry(name, deleted, settles, json.loads(policy) if policy else None)


def _version(row: tuple[Any, ...]) -> Version:
    identifier, created, updated, enabled, nbf, exp, tags, content_type, body = row
    unpacked = json.loads(tags) if tags else None
    return Version(identifier, created, updated, bool(enabled), nbf, exp, unpacked, content_type, body)
