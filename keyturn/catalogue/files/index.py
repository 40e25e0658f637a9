"""What a catalogue that was checked whole declares, kept so that it is opened by need: entries are made when asked for.

The index is found by a digest of everything that the check depends on: the name and bytes of each file, the values of
the variables that the files refer to, and the code that checks. So what was edited is never opened from it, and what is
opened was checked whole, across all entries. It lies in the user's cache directory, for that user alone, is put there
in one step, and is never needed: where it can't be read or written a catalogue is opened without it.
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
"""Bytes of files, some 300 secrets, from which on it is quicker than to read the files again."""

KEPT: Final = 4
"""Indexes that stay of one directory: its files under several environments, and as they were before."""

LIMIT: Final = 1 << 30
"""Bytes of an index that are read at most."""

DECIDING: Final = ("access_log", "catalogue", "core", "settings", "strategies")
"""The packages whose code decides whether a catalogue is sound, and what it says."""

Content = Mapping[str, bytes]
"""The bytes of each file by its name."""

Declared = dict[str, dict[str, Any]]
"""The plain data of each entry by section and name, references as they are written."""


class Index:
    """What is kept of these files of one directory, as they are under this environment."""

    def __init__(self, directory: Path, content: Content, digests: Digests, env: Mapping[str, str]) -> None:
        begin = hashlib.sha256(os.fsencode(os.path.abspath(directory))).hexdigest()[:16]
        place = _place() if sum(map(len, content.values())) >= WORTH else None
        self._env = env
        self._digest = _digest_of(content, digests, env) if place else ""
        self._file = place / f"{begin}-{self._digest[:32]}.json" if place else None

    def find(self) -> Declared | None:
        """What these files declare, where they were checked before and found sound; None where that is not known."""
        if self._file is None:
            return None
        try:
            return self._sound(_opened(self._file))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, declared: Declared, variables: Collection[str]) -> None:
        """Remember that these files, which refer to these variables, declare this, and that it is sound.

        What can't be written is let be.
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
        """What an index tells, where it is of these very files and of variables with these values."""
        if content["of"] != self._digest or content["values"] != _values(content["variables"], self._env):
            return None
        declared: Declared = content["declared"]
        return declared


def _place() -> Path | None:
    """The user's cache directory; None where there is none."""
    try:
        return cache_directory()
    except Invalid:
        return None


def _digest_of(content: Content, digests: Digests, env: Mapping[str, str]) -> str:
    """What tells these files, with the values that they seem to refer to and by this code, from all others."""
    texts = [raw.decode(errors="replace") for raw in content.values() if b"${" in raw]
    names = sorted({reference[1] for text in texts for reference in REFERENCE.finditer(text)})
    files = sorted(digests.items())
    return hashlib.sha256(json.dumps([code_stamp(), files, _values(names, env)]).encode()).hexdigest()


def _values(names: Sequence[str], env: Mapping[str, str]) -> str:
    """A digest of what these variables hold."""
    return hashlib.sha256(json.dumps([(name, env.get(name)) for name in names]).encode()).hexdigest()


@cache
def code_stamp() -> str:
    """What tells the code that checks from that of another release, or of a moment ago."""
    house = Path(__file__).parents[2]
    files = sorted(file for package in DECIDING for file in (house / package).rglob("*.py"))
    stamps = [(str(file.relative_to(house)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([sys.version, pydantic.VERSION, stamps])


def _sealed(content: Any) -> bytes:
    """An index's content: a digest, and what it is a digest of."""
    body = json.dumps(content).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _opened(file: Path) -> Any:
    """What an index holds. Raises OSError, and ValueError where it is not what was written."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        _insist_on_own(os.stat(file.parent, follow_symlinks=False), stat.S_IFDIR)
        _insist_on_own(os.fstat(handle), stat.S_IFREG)
        seal, _, body = opened.read(LIMIT).partition(b"\n")
    if seal != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("the index is damaged")
    return json.loads(body)


def _insist_on_own(status: os.stat_result, kind: int) -> None:
    """Raises OSError where somebody else could have written it."""
    if stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError("others may write it")


def _replace(file: Path, content: bytes) -> None:
    """Put a whole file in its place, for this user alone, whoever else reads or writes it. Raises OSError."""
    handle, made = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        os.replace(made, file)
    except OSError:
        os.unlink(made)
        raise


def _clear(file: Path) -> None:
    """Remove what is kept of the same directory, but for the newest few."""
    begin = file.name.partition("-")[0]
    same = [index for index in file.parent.glob(f"{begin}-*.json") if index != file]
    for old in sorted(same, key=_written_at, reverse=True)[KEPT - 1 :]:
        old.unlink(missing_ok=True)


def _written_at(file: Path) -> int:
    """When it was, in nanoseconds; 0 where another process has removed it."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
