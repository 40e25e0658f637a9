"""Backups in a directory: on another disk, or on a file system that other machines share."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from keyturn.core.files import PRIVATE_DIRECTORY, PRIVATE_FILE, sync_directory
from keyturn.core.ports.backups import LARGEST_OBJECT, StoredObject

DRAFT: Final = ".draft-"


class BackupDirectory:
    """A ``BackupPlace`` in a directory that only its owner may enter, created on demand.

    It enforces no retention: any user who may write there may remove backups.
    """

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory).absolute()
        self.name = f"directory {self._directory}"

    def put(self, name: str, content: bytes) -> None:
        file = self._file(name)
        draft = file.with_name(f"{DRAFT}{token_hex(8)}")
        with self._telling("write", name):
            self._directory.mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            self._insist_on_private()
            file.parent.mkdir(PRIVATE_DIRECTORY, exist_ok=True)
            try:
                _write_durably(draft, content)
                os.link(draft, file)
            except FileExistsError:
                raise Conflict("write", f"{self.name}/{name}", "there is one of that name already") from None
            finally:
                draft.unlink(missing_ok=True)
            sync_directory(file.parent)

    def get(self, name: str) -> bytes:
        with self._telling("read", name), open(self._file(name), "rb") as opened:
            content = opened.read(LARGEST_OBJECT + 1)
        if len(content) > LARGEST_OBJECT:
            raise Invalid("read", f"{self.name}/{name}", f"it is longer than {LARGEST_OBJECT >> 20} MiB")
        return content

    def find(self, name: str) -> StoredObject | None:
        try:
            with self._telling("look at", name):
                return _stored(name, os.stat(self._file(name)))
        except NotFound:
            return None

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._telling("list", ""):
            if not self._directory.exists():
                return
            self._insist_on_private()
            files = sorted(file for file in self._directory.rglob("*") if not file.name.startswith(DRAFT))
        for file in files:
            name = str(file.relative_to(self._directory))
            with self._telling("list", name):
                status = file.lstat()
            if stat.S_ISREG(status.st_mode) and name.startswith(prefix):
                yield _stored(name, status)

    def remove(self, name: str) -> None:
        file = self._file(name)
        with self._telling("remove", name):
            file.unlink(missing_ok=True)
            if file.parent != self._directory and file.parent.exists() and not any(file.parent.iterdir()):
                file.parent.rmdir()

    def _file(self, name: str) -> Path:
        if {"", ".", ".."} & set(name.split("/")):
            raise Invalid("find", f"{self.name}/{name}", "that is no name of an object")
        return self._directory / name

    def _insist_on_private(self) -> None:
        status = os.stat(self._directory)
        if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
            problem = "others may write there, and so remove backups and put others in their place"
            raise Invalid("use", self.name, problem, f"chmod go-w {self._directory}, and chown it to this user")

    @contextmanager
    def _telling(self, doing: str, name: str) -> Iterator[None]:
        called = f"{self.name}/{name}" if name else self.name
        try:
            yield
        except FileNotFoundError:
            raise NotFound(doing, called, "there is no such file") from None
        except PermissionError:
            raise Denied(doing, called, "this user may not", f"See who owns {self._directory}") from None
        except OSError as error:
            raise Unavailable(doing, called, os.strerror(error.errno or 0).lower(), "See the disk") from None


def _stored(name: str, status: os.stat_result) -> StoredObject:
    return StoredObject(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _write_durably(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
