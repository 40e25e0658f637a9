"""What could not be read of a log: the first bytes of each such line, kept for whoever looks into it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from keyturn.access_log.trail.files import opened, telling
from keyturn.core.ports.access_source import Malformed
from keyturn.ledger.storage.durable_files import append_durably, make_private_directory

LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a source's lines, beyond which no more are kept; the segments' heads have their digests all the same."""


def put_aside(path: Path, lines: Sequence[Malformed]) -> None:
    """Keep them: a line of JSON for each, with the bytes in base64. Raises Unavailable."""
    if not lines:
        return
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    with telling("write", path):
        make_private_directory(path.parent)
        with opened(path) as file:
            size = file.seek(0, 2)
            if size + len(content) <= LIMIT:
                append_durably(file.fileno(), content, size)
