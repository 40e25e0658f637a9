"""What the cluster holds: one SQLite file that only its owner may read, whole after every commit."""

import json
from pathlib import Path
from typing import Any, Final

from local.emulators.sqlite import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT, namespace TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 1);
"""

Tree = dict[str, Any]


class State(Database):
    """Objects by resource, namespace and name, and one revision that every change moves on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "cluster.sqlite", SCHEMA)

    def get(self, resource: str, namespace: str, name: str) -> Tree | None:
        """The object of that name."""
        rows = self._run(
            "SELECT body FROM objects WHERE resource = ? AND namespace = ? AND name = ?", resource, namespace, name
        )
        return json.loads(rows[0][0]) if rows else None

    def put(self, resource: str, namespace: str, name: str, body: Tree) -> None:
        """Make the object, or replace it."""
        self._run("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", resource, namespace, name, json.dumps(body))

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Forget the object."""
        self._run("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", resource, namespace, name)

    def after(self, resource: str, namespace: str, start: str) -> list[Tree]:
        """The objects whose names are ``start`` or come after it, by name."""
        rows = self._run(
            "SELECT body FROM objects WHERE resource = ? AND namespace = ? AND name >= ? ORDER BY name",
            resource,
            namespace,
            start,
        )
        return [json.loads(body) for (body,) in rows]

    def revision(self) -> int:
        """The revision of the latest change."""
        return int(self._run("SELECT value FROM revision")[0][0])

    def next_revision(self) -> str:
        """The revision of the change that is under way."""
        return str(self._run("UPDATE revision SET value = value + 1 RETURNING value")[0][0])
