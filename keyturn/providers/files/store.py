"""Files of this machine as a store: one file for each copy, readable only by its owner.

``.NAME.keyturn.json`` next to NAME holds the marks and the file's inode, size and time, which reveal changes. It is
written before the file: a crash in between leaves a copy that is not intact. No symbolic link is followed.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Unavailable
from keyturn.core.ports.stores import NO_DETAILS, TAG_FINGERPRINT, Details, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import FILE, LIMITS
from keyturn.core.text.dotenv import Dotenv, Reader
from keyturn.providers.files.directory import StillHeld, content, draft_name, fill_draft, identity, only_writer, replace
from keyturn.providers.files.merged_keys import SharedFiles
from keyturn.providers.store_refusals import StoreLimits, has_changed, insist_on_value, only_written_whole

PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
EVERYBODY: Final = "all"
PRIVATE_DIRECTORY: Final = 0o700
WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_TAGS: Final = tuple(OwnershipTags("", 0, "").to_tags())
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_FILE: Final = frozenset({errno.EISDIR, errno.ELOOP, errno.ENXIO})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Files:
    """A ``Store`` in one directory, which the first write creates (0700) if missing.

    The format ``dotenv`` writes a JSON object as lines KEY='value' that ``reader`` reads back. All other texts are
    written unchanged. A file for another reader is outdated, and written again. Deleting is permanent.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self, name: str, *, directory: str, format: Literal["json", "dotenv"] = "json", reader: Reader | None = None
    ) -> None:
        self.name = name
        self._limits = StoreLimits(LIMITS[FILE], name)
        self._directory = directory
        self._lines = format == "dotenv"
        self._reader = reader
        self.shared = SharedFiles(name, self._opened, _marks, self._lines, reader)

    def describe(self, remote: str) -> RemoteSecret | None:
        self._limits.check_name(remote, "find")
        with self._opened("find", remote) as directory:
            return None if directory is None else self._look(directory, remote)

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in self.list_all() if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        with self._opened("list", "*") as directory:
            names = [] if directory is None else _names(directory)
            copies = [self._look(directory, name) for name in names] if directory is not None else []
        return iter([copy for copy in copies if copy is not None])

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        self._limits.check(remote, value)
        if current == RemoteSecret(remote, current.version_id if current else "", marks):
            return current
        lines = self._as_lines(remote, value)
        with self._opened("write", remote, make=True) as directory:
            if directory is None:
                raise NotFound("write", self._named(remote), "the directory was removed", "It is made again by itself")
            _refuse_a_directory(directory, remote)
            with only_writer(directory, remote) as descriptor:
                written = fill_draft(descriptor, lines.text if lines else value)
                made_for = {"not_texts": lines.not_texts, "reader": _named(lines.reader)} if lines else {}
                note = {**marks.to_tags(), **written, **made_for}
                replace(directory, _note_name(remote), json.dumps(note))
                os.rename(draft_name(remote), remote, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        return RemoteSecret(remote, _version(written), marks)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        self._limits.check_name(remote, "label")
        insist_on_value(self._named(remote), current, marks)
        with self._opened("label", remote) as directory:
            note = _note(directory, remote) if directory is not None else {}
            if directory is None or not note or note.get(TAG_FINGERPRINT) == marks.fingerprint:
                raise only_written_whole(self._named(remote))
            if self._look(directory, remote) != current:
                raise has_changed(self._named(remote))
            replace(directory, _note_name(remote), json.dumps({**note, **marks.to_tags()}))
        return RemoteSecret(remote, current.version_id, marks)

    def read(self, remote: str) -> Sensitive:
        self._limits.check_name(remote, "read")
        text = self._read(remote, remote, "read")
        if text is None:
            raise NotFound("read", self._named(remote), "there is no such file", "Push it again")
        return text

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        for remote in remotes:
            self._limits.check_name(remote, "read")
        texts = ((remote, self._read(remote, remote, "read")) for remote in remotes)
        return {remote: value for remote, value in texts if value is not None}

    def delete(self, remote: str) -> None:
        self._limits.check_name(remote, "delete")
        with self._opened("delete", remote) as directory:
            if directory is None:
                return
            for name in (remote, draft_name(remote), _note_name(remote), f"{_note_name(remote)}.new"):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        self._limits.check_name(remote, PAST)
        try:
            left = self._read(remote, draft_name(remote), PAST)
        except Invalid:
            return {}  # the write stopped within a character
        return {"unfinished": left} if left else {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        self._limits.check_name(remote, FORGET)
        with self._opened(FORGET, remote) as directory:
            if directory is None or draft_name(remote) not in os.listdir(directory):
                return ()
            # Waits for a current writer, who then has renamed the draft.
            with only_writer(directory, remote):
                os.unlink(draft_name(remote), dir_fd=directory)
            os.fsync(directory)
        return ()

    def purge(self, remote: str) -> tuple[str, ...]:
        self.delete(remote)
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, remote: str, file: str, doing: str) -> Sensitive | None:
        with self._opened(doing, remote) as directory:
            if directory is None:
                return None
            note = _note(directory, remote)
            try:
                text, status = content(directory, file)
            except FileNotFoundError:
                return None
            except UnicodeDecodeError:
                raise Invalid(doing, self._named(remote), "it is not UTF-8 text", "Keyturn manages texts") from None
        if "not_texts" not in note or not _describes(note, status):
            return text
        return Dotenv(text, note["not_texts"], _reader(note)).joined()

    def _as_lines(self, remote: str, value: Sensitive) -> Dotenv | None:
        try:
            return Dotenv.of(value, self._reader) if self._lines else None
        except ValueError as error:
            hint = "Nothing was written. Choose the format json, another reader, or other names for the fields"
            raise Invalid("write", self._named(remote), str(error), hint) from None

    def _look(self, directory: int, remote: str) -> RemoteSecret | None:
        try:
            status = os.stat(remote, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return RemoteSecret(remote, _version(identity(status)), None, intact=False)
        note = _note(directory, remote)
        marks = OwnershipTags.from_tags(note)
        intact = marks is None or _describes(note, status)
        outdated = self._lines and "not_texts" in note and note.get("reader") != _named(self._reader)
        return RemoteSecret(remote, _version(identity(status)), marks, intact, outdated=outdated)

    @contextmanager
    def _opened(self, doing: str, remote: str, make: bool = False) -> Iterator[int | None]:
        descriptor = None
        try:
            if make:
                os.makedirs(self._directory, PRIVATE_DIRECTORY, exist_ok=True)
            with suppress(FileNotFoundError):
                descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            if make and descriptor is not None and os.fstat(descriptor).st_mode & WRITABLE_BY_OTHERS:
                problem = f"others may write to {self._directory}"
                raise Denied(doing, self._named(remote), problem, "Take their right to write there: chmod go-w")
            yield descriptor
        except OSError as error:
            raise self._from_os(error, doing, remote) from None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _from_os(self, error: OSError, doing: str, remote: str) -> KeyturnError:
        if isinstance(error, StillHeld):
            problem = f"{error.holder}, holds its draft {draft_name(remote)} in {self._directory}"
            hint = "Continue it (kill -CONT) or end it; once it is released, run it again"
            return Locked(doing, self._named(remote), problem, hint)
        name, reason = self._named(remote), os.strerror(error.errno) if error.errno else "the system refuses it"
        if error.errno in _FULL:
            hint = "Make room on the disk; nothing was changed"
            return Unavailable(doing, name, f"{self._directory}: {reason}", hint)
        if error.errno in _DENIED:
            return Denied(doing, name, f"{self._directory}: {reason}", "Check owner and mode of the directory")
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return Invalid(doing, name, f"{self._directory} is no directory", "Correct the store's directory")
        if error.errno in _NO_FILE:
            return Invalid(doing, name, "it is not a regular file", "Remove it, or choose another name")
        return Unavailable(doing, name, f"{self._directory}: {reason}", "See the system's log")

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _marks(directory: int, remote: str) -> OwnershipTags | None:
    return OwnershipTags.from_tags(_note(directory, remote))


def _named(reader: Reader | None) -> str:
    return reader.value if reader else EVERYBODY


def _reader(note: dict[str, Any]) -> Reader | None:
    return Reader(note["reader"]) if note.get("reader") in list(Reader) else None


def _note_name(remote: str) -> str:
    return f".{remote}.keyturn.json"


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.name[0] != "." and entry.is_file(follow_symlinks=False)]


def _version(parts: dict[str, int]) -> str:
    return f"{parts['inode']}-{parts['size']}-{parts['mtime_ns']}"


def _describes(note: dict[str, Any], status: os.stat_result) -> bool:
    return {**note, **identity(status)} == note


def _refuse_a_directory(directory: int, remote: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(remote, dir_fd=directory, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, "a directory")


def _note(directory: int, remote: str) -> dict[str, Any]:
    try:
        note = json.loads(content(directory, _note_name(remote))[0].reveal())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return {}
    return note if isinstance(note, dict) and all(isinstance(note.get(key), str) for key in _TAGS) else {}
