"""What stands in a backup, a line of JSON each.

A value is in such a line in clear, so lines are made and read in memory alone, and sealed before they leave it.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from keyturn.core.ports.backups import KeptVersion, ListedEntry

KIND: Final = "kind"


class LineKind(StrEnum):
    """What a line is about."""

    ENTRY = "entry"
    """An entry of a KV mount as it is now."""
    REMOVED = "removed"
    """One that is there no more."""
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
    """The line, with its end."""
    return json.dumps({KIND: kind, **fields}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def entry_line(
    entry: ListedEntry, settings: Mapping[str, Any], versions: Sequence[tuple[KeptVersion, str]], most: int
) -> bytes:
    """An entry with its versions, the oldest first, each with its fingerprint.

    Of those that could be read there are the newest, ``most`` at most: where there are fewer, no other could be.
    """
    content = [
        {"n": version.number, "at": version.created_at, "fields": dict(version.fields), "fingerprint": fingerprint}
        for version, fingerprint in versions
    ]
    about = {"area": entry.area, "path": entry.path, "version": entry.version, "settings": dict(settings), "most": most}
    return backup_line(LineKind.ENTRY, **about, versions=content)


def parse_line(text: bytes) -> Line:
    """What :func:`backup_line` was given."""
    line: Line = json.loads(text)
    return line
