"""The rights of a login at an emulator: the documents of `keyturn setup store`, in a file that an administrator writes.

A login without a file may do everything, so that a new stack works before its rights are rendered.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from local.support.files import write_private

Documents = Mapping[str, str]
"""Texts by the names of their files, of all stores: each emulator takes those that it understands."""


class Rights:
    """Hands the documents in ``file`` to ``take`` whenever they change, before the next call is weighed.

    None stands for everything.
    """

    def __init__(self, file: Path, take: Callable[[Documents | None], None]) -> None:
        self._file = file
        self._take = take
        self._seen: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Read the file if it has changed."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._take(None)
            self._seen = None
            return
        if (seen := (found.st_ino, found.st_mtime_ns)) != self._seen:
            self._take(json.loads(self._file.read_text()))
            self._seen = seen


def grant(file: Path, documents: Documents) -> None:
    """Let the login of this file do what the documents allow, and nothing else."""
    write_private(file, json.dumps(dict(documents)))
