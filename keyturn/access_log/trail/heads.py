"""The heads of sealed segments, an append-only file per source."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from keyturn.access_log.trail.files import opened, telling
from keyturn.access_log.trail.segments import SealedHead
from keyturn.core.errors import Rewritten
from keyturn.core.files import append_durably, make_private_directory, sync_directory


def read_heads(path: Path) -> Iterator[SealedHead]:
    """Yield the complete heads in order. Raises Unavailable, Rewritten."""
    if not path.exists():
        return
    with telling("read", path), path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoded(path, line)


def last_head(path: Path) -> SealedHead | None:
    """The newest head. Raises Unavailable, Rewritten."""
    if not path.exists():
        return None
    with telling("read", path), path.open("rb") as file:
        size, step = file.seek(0, 2), 64 * 1024
        while True:
            begin = max(0, size - step)
            file.seek(begin)
            lines = file.read(size - begin).split(b"\n")[:-1]
            if len(lines) > 1 or not begin:
                return _decoded(path, lines[-1]) if lines else None
            step *= 4


def add_head(path: Path, head: SealedHead) -> None:
    """Append a head durably. Raises Unavailable."""
    with telling("write", path):
        new = not path.exists()
        make_private_directory(path.parent)
        with opened(path) as file:
            append_durably(file.fileno(), msgspec.json.encode(head) + b"\n", _whole(path))
        if new:
            sync_directory(path.parent)


def _whole(path: Path) -> int:
    """The size of the complete lines. An incomplete one is overwritten."""
    with path.open("rb") as file:
        size, step = file.seek(0, 2), 64 * 1024
        while size:
            begin = max(0, size - step)
            file.seek(begin)
            end = file.read(size - begin).rfind(b"\n")
            if end >= 0:
                return begin + end + 1
            size = begin
    return 0


def _decoded(path: Path, line: bytes) -> SealedHead:
    try:
        return msgspec.json.decode(line, type=SealedHead)
    except msgspec.MsgspecError:
        problem = "a line is not in the form that Keyturn writes: it was edited by hand"
        raise Rewritten("read", str(path), problem, "Bring it back from a copy: keyturn trail verify") from None
