"""Directories and buckets of objects with logs, and the layout of their records."""

import gzip
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Raw, Struct

from keyturn.access_log.log_files import NotALine
from keyturn.access_log.sources.passed_objects import Passed, PassedKeys

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of one unpacked object."""

PACKED: Final = b"\x1f\x8b"
"""The first bytes of gzip data."""

UNFINISHED: Final = re.compile(r".*\.(?:tmp|part|partial|crdownload|gstmp|(?:json|gz)\.[0-9A-Fa-f]{8})", re.DOTALL)
"""Temporary names of copying programs, lastly ``gcloud storage`` and ``aws s3``."""


@dataclass(frozen=True)
class StoredObject:
    """A file or object: its name, stored size and time of change in seconds."""

    key: str
    size: int
    changed: float


STAMP: Final = re.compile(r"(?<!\d)\d{8}T\d{4}Z")
DAY: Final = re.compile(r"(?:^|/)(?:y=)?(\d{4})/(?:m=)?(\d\d)/(?:d=)?(\d\d)/")
"""Dates in keys: CloudTrail's, and folders of year, month and day."""


def dated(key: str) -> tuple[str, str]:
    """Split a key into the part before its date, and the date with the rest.

    Several regions, vaults or logs have the same dates after different prefixes.
    """
    day = DAY.search(key)
    if stamp := STAMP.search(key):
        return key[: day.start() if day else stamp.start()], key[stamp.start() :]
    if day is None:
        return key, ""
    return key[: day.start()], "".join((*day.groups(), "/", key[day.end() :]))


class ObjectStore(Protocol):
    """Where objects are stored. ``name`` is for people."""

    name: str

    def objects(self, after: str) -> Iterator[StoredObject]:
        """Yield objects after the key ``after``, in a fixed order by date. Raises KeyturnError and OSError."""

    def passed(self, key: str) -> Passed | None:
        """Summarise the last listing up to this key, None if unknown. The key alone determines the range."""

    def arrived(self, key: str) -> list[StoredObject]:
        """Return these objects in their order of arrival. Raises OSError."""

    def read(self, key: str, offset: int = 0, limit: int = LARGEST + 1) -> bytes:
        """Read at most ``limit`` bytes from an offset. Raises KeyturnError and OSError."""


class Directory:
    """The files below a local directory."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._odd: dict[str, str] = {}
        self._places: list[tuple[str, str]] = []
        self._keys = PassedKeys()

    def objects(self, after: str) -> Iterator[StoredObject]:
        """Yield the files by date, without hidden and temporary ones."""
        if not self._path.is_dir():
            raise NotADirectoryError(0, "there is no such directory", self.name)
        self._places, self._keys = [], PassedKeys()  # free the memory of a large directory first
        keys = (self._key(path.relative_to(self._path).as_posix()) for path in _files(self._path))
        self._places = sorted((dated(key)[1], key) for key in keys)
        self._keys = PassedKeys(key for _, key in self._places)
        for _, key in self._places[self._position(after) :]:
            path = self._file(key)
            try:
                status = path.stat()
            except FileNotFoundError:
                if path.is_symlink():
                    raise
                continue  # removed after the listing
            yield StoredObject(key, status.st_size, status.st_mtime)

    def passed(self, key: str) -> Passed:
        """Summarise the keys up to this one in the last listing."""
        return self._keys.up_to(self._position(key))

    def arrived(self, key: str) -> list[StoredObject]:
        """These files in order of arrival, by ctime, since a copying program may set mtime."""
        came: list[tuple[float, StoredObject]] = []
        for _, name in self._places[: self._position(key)]:
            with suppress(FileNotFoundError):
                status = self._file(name).stat()
                came.append((status.st_ctime, StoredObject(name, status.st_size, status.st_mtime)))
        return [stored for _, stored in sorted(came, key=lambda each: (each[0], each[1].key))]

    def _position(self, key: str) -> int:
        return bisect_right(self._places, (dated(key)[1], key)) if key else 0

    def _file(self, key: str) -> Path:
        return self._path / self._odd.get(key, key)

    def _key(self, name: str) -> str:
        """Return the name as valid UTF-8, with other bytes escaped."""
        key = os.fsencode(name).decode(errors="backslashreplace")
        if key != name:
            self._odd[key] = name
        return key

    def read(self, key: str, offset: int = 0, limit: int = LARGEST + 1) -> bytes:
        """Read a file from an offset."""
        with self._file(key).open("rb") as file:
            file.seek(offset)
            return file.read(limit)


def _files(directory: Path) -> Iterator[Path]:
    """Yield files, following each outside link once."""

    def refuse(error: OSError) -> None:
        raise error

    root, followed = os.path.realpath(directory), set[str]()

    def is_wanted(path: str) -> bool:
        if not os.path.islink(path):
            return True
        target = os.path.realpath(path)
        if target in followed or os.path.commonpath((root, target)) == root:
            return False
        followed.add(target)
        return True

    for folder, folders, names in os.walk(directory, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != "." and is_wanted(os.path.join(folder, name)))
        finished = (name for name in names if name[0] != "." and not UNFINISHED.fullmatch(name))
        yield from (Path(folder, name) for name in sorted(finished) if is_wanted(os.path.join(folder, name)))


class Piece(Struct, frozen=True):
    """A record of an object, its position and the next one."""

    begin: int
    end: int
    record: bytes


class Layout(Protocol):
    """How an object contains records. ``grows`` allows later additions."""

    grows: bool

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """Return the records of ``data`` from ``begin``, of a complete object if ``whole``. Raises NotALine."""


class Lines:
    """One JSON object per line. Positions are bytes."""

    grows = True

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """Return the complete lines. With ``whole`` the last needs no line feed."""
        pieces, at = [], begin
        for line in data.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            if text == line and not whole and not _is_whole(text):
                break
            pieces.append(Piece(at, at := at + len(line), text))
        return [piece for piece in pieces if piece.record]


def _is_whole(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


class _Records(Struct):
    records: list[Raw] = msgspec.field(name="Records")


class Document:
    """A JSON document with a list ``Records``. Positions are numbers from 0."""

    grows = False

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """Return all records but the first ``begin``."""
        try:
            records = _DOCUMENT.decode(data).records
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise NotALine("it is no JSON document with a list of Records") from None
        return [Piece(number, number + 1, bytes(record)) for number, record in enumerate(records)][begin:]


_DOCUMENT: Final = msgspec.json.Decoder(_Records)


def unpacked(data: bytes) -> bytes:
    """Decompress gzip data, and return other data as is. Raises NotALine."""
    if data.startswith(PACKED):
        data = _gunzipped(data)
    if len(data) > LARGEST:
        raise NotALine(f"it has more than {LARGEST >> 20} MiB")
    return data


def _gunzipped(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            return file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error):
        raise NotALine("it is packed, and broken or not whole") from None
