"""Reads one file of a catalogue: a regular file of limited size.

It never waits for a pipe and never reads a device. Links are followed, since Kubernetes mounts files as links.
"""

import os
import stat
from pathlib import Path
from typing import Final

from keyturn.catalogue.files.syntax import NotYaml

FILE_LIMIT: Final = 16 * 1024 * 1024
"""The largest file in bytes: some 40,000 secrets."""


_KINDS: Final[dict[int, str]] = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """The content of a regular file of at most ``limit`` bytes. Raises NotYaml, and OSError like ``open``."""
    _insist_on_file(os.stat(path))
    # The file may have been replaced since: never wait for a pipe.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(handle, "rb") as file:
        _insist_on_file(os.fstat(handle))
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise NotYaml(0, f"the file has more than {limit:,} bytes", "Divide it into several: all files are merged.")
    return raw


def _insist_on_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise NotYaml(
            0, f"this is {kind}, and can't be read as a file", "Put a regular file in its place, or rename it."
        )
