"""The first bytes of unreadable lines, kept for investigation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from keyturn.access_log.trail.files import opened, telling
from keyturn.core.ports.access_source import Malformed
from keyturn.ledger.storage.durable_files import append_durably, make_private_directory

LIMIT: Final = 16 * 1024 * 1024
"""The most bytes per source. The heads have all digests anyway."""


def put_aside(path: Path, lines: Sequence[Malformed]) -> None:
    """Append them as JSON lines with base64. Raises Unavailable."""
    if not lines:
        return
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    with telling("write", path):
        make_private_directory(path.parent)
        with opened(path) as file:
            size = file.seek(0, 2)
            if size + len(content) <= LIMIT:
                append_durably(file.fileno(), content, size)
