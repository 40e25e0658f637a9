"""What a drill has made, in a file of its own, so that the next one removes what a killed one has left."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.drill.names import Names
from local.home import Stack
from local.support.files import private_directory

DIRECTORY: Final = "drills"


@dataclass(frozen=True)
class Kept:
    """One drill: its names, and the stores and names of its copies. Locked for as long as its process lives."""

    file: Path
    names: Names
    stores: dict[str, Any]
    copies: tuple[tuple[str, str], ...]
    _descriptor: int = field(repr=False)

    def forget(self) -> None:
        """All of it is removed."""
        self.file.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Leave what is left of it to the next drill."""
        os.close(self._descriptor)


def directory(stack: Stack) -> Path:
    """Where the files lie."""
    return stack.home / DIRECTORY


def files_of(stack: Stack, names: Names) -> Path:
    """The directory of a drill's copies that are files."""
    return directory(stack) / f"{names.id}.files"


def keep(stack: Stack, names: Names, stores: dict[str, Any], copies: list[tuple[str, str]]) -> Kept:
    """Write down what is about to be made, before it is made. Raises OSError."""
    file = private_directory(directory(stack)) / f"{names.id}.json"
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    # Locked before it has its name: nobody finds it and takes this process for a dead one.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, json.dumps({"id": names.id, "stores": stores, "copies": copies}).encode())
    os.fsync(descriptor)
    fresh.replace(file)
    return Kept(file, names, stores, tuple(copies), descriptor)


def killed(stack: Stack) -> Iterator[Kept]:
    """Those whose process is gone and left something, each locked."""
    for file in directory(stack).glob("*.new"):
        file.unlink(missing_ok=True)  # whoever was killed here had made nothing yet
    for file in sorted(directory(stack).glob("*.json")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            yield _taken(file)


def _taken(file: Path) -> Kept:
    descriptor = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record = json.loads(file.read_text())
    except BaseException:
        os.close(descriptor)
        raise
    return Kept(file, Names(record["id"]), record["stores"], tuple(map(tuple, record["copies"])), descriptor)
