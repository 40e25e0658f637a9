"""An index of a validated catalogue, from which entries are made on demand.

A digest identifies it: of the files' names and bytes, of the variables' values to which they refer, and of the code
that checks. So an edited catalogue is never opened from an old index. The index is readable only by its user and is
optional.
"""

import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import pydantic

from keyturn.catalogue.files.environment import REFERENCE
from keyturn.catalogue.files.signature import Digests
from keyturn.core.errors import Invalid
from keyturn.settings.directories import cache_directory, make_private

WORTH: Final = 100_000
"""Bytes of files, some 300 secrets, above which an index is faster than reading the files again."""

KEPT: Final = 4
"""The indexes kept for one directory: for other environments and for earlier states."""

LIMIT: Final = 1 << 30
"""The largest index that is read, in bytes."""

DECIDING: Final = ("access_log", "catalogue", "core", "settings", "strategies")

Content = Mapping[str, bytes]

Declared = dict[str, dict[str, Any]]
"""The plain data of each entry by section and name, with unresolved references."""


class Index:
    def __init__(self, directory: Path, content: Content, digests: Digests, env: Mapping[str, str]) -> None:
        begin = hashlib.sha256(os.fsencode(os.path.abspath(directory))).hexdigest()[:16]
        place = _place() if sum(map(len, content.values())) >= WORTH else None
        self._env = env
        self._digest = _digest_of(content, digests, env) if place else ""
        self._file = place / f"{begin}-{self._digest[:32]}.json" if place else None

    def find(self) -> Declared | None:
        """The declarations of these files if they were validated before; else None."""
        if self._file is None:
            return None
        try:
            return self._sound(_opened(self._file))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, declared: Declared, variables: Collection[str]) -> None:
        """Stores the declarations of these valid files, which refer to ``variables``.

        Write errors are ignored.
        """
        if self._file is None:
            return
        names = sorted(variables)
        content = {"of": self._digest, "variables": names, "values": _values(names, self._env), "declared": declared}
        with suppress(OSError):
            _insist_on_own(os.stat(make_private(self._file.parent), follow_symlinks=False), stat.S_IFDIR)
            _replace(self._file, _sealed(content))
            _clear(self._file)

    def _sound(self, content: Any) -> Declared | None:
        if content["of"] != self._digest or content["values"] != _values(content["variables"], self._env):
            return None
        declared: Declared = content["declared"]
        return declared


def _place() -> Path | None:
    try:
        return cache_directory()
    except Invalid:
        return None


def _digest_of(content: Content, digests: Digests, env: Mapping[str, str]) -> str:
    texts = [raw.decode(errors="replace") for raw in content.values() if b"${" in raw]
    names = sorted({reference[1] for text in texts for reference in REFERENCE.finditer(text)})
    files = sorted(digests.items())
    return hashlib.sha256(json.dumps([code_stamp(), files, _values(names, env)]).encode()).hexdigest()


def _values(names: Sequence[str], env: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([(name, env.get(name)) for name in names]).encode()).hexdigest()


@cache
def code_stamp() -> str:
    """Identifies the version of the code that checks and of the shipped recipes, by size and modification time."""
    house = Path(__file__).parents[2]
    code = (file for package in DECIDING for file in (house / package).rglob("*.py"))
    files = sorted((*code, *(house / "recipes").rglob("*.yaml")))
    stamps = [(str(file.relative_to(house)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([sys.version, pydantic.VERSION, stamps])


def _sealed(content: Any) -> bytes:
    body = json.dumps(content).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _opened(file: Path) -> Any:
    """Raises OSError, and ValueError for a damaged index."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        _insist_on_own(os.stat(file.parent, follow_symlinks=False), stat.S_IFDIR)
        _insist_on_own(os.fstat(handle), stat.S_IFREG)
        seal, _, body = opened.read(LIMIT).partition(b"\n")
    if seal != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("the index is damaged")
    return json.loads(body)


def _insist_on_own(status: os.stat_result, kind: int) -> None:
    """Raises OSError if another user could have written it."""
    if stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError("others may write it")


def _replace(file: Path, content: bytes) -> None:
    """Replaces the file atomically, readable only by this user. Raises OSError."""
    handle, made = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        os.replace(made, file)
    except OSError:
        os.unlink(made)
        raise


def _clear(file: Path) -> None:
    begin = file.name.partition("-")[0]
    same = [index for index in file.parent.glob(f"{begin}-*.json") if index != file]
    for old in sorted(same, key=_written_at, reverse=True)[KEPT - 1 :]:
        old.unlink(missing_ok=True)


def _written_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
