"""The content of a backup, one JSON line per item.

Lines contain values in clear, so they are sealed before they leave memory.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from keyturn.core.ports.backups import KeptVersion, ListedEntry

KIND: Final = "kind"


class LineKind(StrEnum):
    """The kind of a line."""

    ENTRY = "entry"
    """The current state of an entry in a KV mount."""
    REMOVED = "removed"
    """An entry that no longer exists."""
    KEY = "key"
    """A key of the transit engine."""
    FILE = "file"
    """A file of the catalogue."""
    LEAF = "leaf"
    """An entry of the ledger."""
    CHECKPOINT = "checkpoint"
    """The ledger's newest signed note."""


Line = Mapping[str, Any]


def backup_line(kind: LineKind, **fields: Any) -> bytes:
    """The line, with its line end."""
    return json.dumps({KIND: kind, **fields}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def entry_line(
    entry: ListedEntry, settings: Mapping[str, Any], versions: Sequence[tuple[KeptVersion, str]], most: int
) -> bytes:
    """An entry with its newest readable versions, oldest first, and their fingerprints.

    Fewer than ``most`` means that no other was readable.
    """
    content = [
        {"n": version.number, "at": version.created_at, "fields": dict(version.fields), "fingerprint": fingerprint}
        for version, fingerprint in versions
    ]
    about = {"area": entry.area, "path": entry.path, "version": entry.version, "settings": dict(settings), "most": most}
    return backup_line(LineKind.ENTRY, **about, versions=content)


def parse_line(text: bytes) -> Line:
    """The arguments of :func:`backup_line`."""
    line: Line = json.loads(text)
    return line
