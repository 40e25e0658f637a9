"""Where logs lie that are delivered as files: a directory or a bucket, and how what is in one of them is parted."""

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
"""Bytes of one object, unpacked."""

PACKED: Final = b"\x1f\x8b"
"""How what gzip has packed begins."""

UNFINISHED: Final = re.compile(r".*\.(?:tmp|part|partial|crdownload|gstmp|(?:json|gz)\.[0-9A-Fa-f]{8})", re.DOTALL)
"""What copying programs call a file that they are writing still: the last are ``gcloud storage``'s and ``aws s3``'s."""


@dataclass(frozen=True)
class StoredObject:
    """A file or an object of a bucket: its name, its bytes as they lie there, and the second it was written in."""

    key: str
    size: int
    changed: float


STAMP: Final = re.compile(r"(?<!\d)\d{8}T\d{4}Z")
DAY: Final = re.compile(r"(?:^|/)(?:y=)?(\d{4})/(?:m=)?(\d\d)/(?:d=)?(\d\d)/")
"""How a key tells when what it holds is of: as CloudTrail has it, and as folders of a year, a month and a day."""


def dated(key: str) -> tuple[str, str]:
    """What stands in a key before its date, the whole key without one; and its date with what stands behind that.

    Several regions, vaults or logs have the same dates behind other beginnings.
    """
    day = DAY.search(key)
    if stamp := STAMP.search(key):
        return key[: day.start() if day else stamp.start()], key[stamp.start() :]
    if day is None:
        return key, ""
    return key[: day.start()], "".join((*day.groups(), "/", key[day.end() :]))


class ObjectStore(Protocol):
    """Where they lie. ``name`` is for people."""

    name: str

    def objects(self, after: str) -> Iterator[StoredObject]:
        """Those behind that of the key ``after``, in an order that is always the same and goes by their dates.

        Raises KeyturnError, and OSError.
        """

    def passed(self, key: str) -> Passed | None:
        """What those up to that key come to by the last listing, as far back as it has looked; None where not at all.

        How far it looks goes by the key alone.
        """

    def arrived(self, key: str) -> list[StoredObject]:
        """The same one by one, the last that came last. Raises OSError."""

    def read(self, key: str, offset: int = 0, limit: int = LARGEST + 1) -> bytes:
        """What stands in it from there on, so many bytes at most. Raises KeyturnError, and OSError."""


class Directory:
    """The files below a directory of this machine, such as those that a copying program brings there."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._odd: dict[str, str] = {}
        self._places: list[tuple[str, str]] = []
        self._keys = PassedKeys()

    def objects(self, after: str) -> Iterator[StoredObject]:
        """In the order of their dates, without hidden ones and those that are being written still."""
        if not self._path.is_dir():
            raise NotADirectoryError(0, "there is no such directory", self.name)
        self._places, self._keys = [], PassedKeys()  # what a large directory takes is let go of first
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
                continue  # somebody has removed it since
            yield StoredObject(key, status.st_size, status.st_mtime)

    def passed(self, key: str) -> Passed:
        """What those up to that key come to by the last listing."""
        return self._keys.up_to(self._position(key))

    def arrived(self, key: str) -> list[StoredObject]:
        """The same one by one, the last that came last, whatever time a copying program gave them."""
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
        """The name as text that can be written down; what is no UTF-8 in it is spelled out."""
        key = os.fsencode(name).decode(errors="backslashreplace")
        if key != name:
            self._odd[key] = name
        return key

    def read(self, key: str, offset: int = 0, limit: int = LARGEST + 1) -> bytes:
        """What stands in a file from there on."""
        with self._file(key).open("rb") as file:
            file.seek(offset)
            return file.read(limit)


def _files(directory: Path) -> Iterator[Path]:
    """Links to what lies elsewhere are followed, once each: what they lead to within is found there."""

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
    """A record of an object: where it begins, where what comes after it does, and its bytes."""

    begin: int
    end: int
    record: bytes


class Layout(Protocol):
    """How the records of an object stand in it. ``grows`` says that something may be added to one later."""

    grows: bool

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """The records of ``data``, which begins at ``begin`` where the object grows; ``whole`` is one that does not.

        Raises NotALine.
        """


class Lines:
    """One JSON object in each line; places are bytes."""

    grows = True

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """The lines that are whole: the last may lack its line feed. Of what is ``whole`` any line is."""
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
    """One JSON document whose member ``Records`` lists them; places are their numbers from 0 on."""

    grows = False

    def pieces(self, data: bytes, begin: int, *, whole: bool = False) -> list[Piece]:
        """All of them but the first ``begin``."""
        try:
            records = _DOCUMENT.decode(data).records
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise NotALine("it is no JSON document with a list of Records") from None
        return [Piece(number, number + 1, bytes(record)) for number, record in enumerate(records)][begin:]


_DOCUMENT: Final = msgspec.json.Decoder(_Records)


def unpacked(data: bytes) -> bytes:
    """What gzip has packed, or what was not packed at all. Raises NotALine."""
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
