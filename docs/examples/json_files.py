"""A store that is a directory of JSON documents, as an appliance reads them: NAME.json, its text under ``value``."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import Limits
from keyturn.providers.store_refusals import StoreLimits, only_written_whole
from keyturn.settings.fields import Line
from keyturn.settings.stores import Placed, System

KIND: Final = "json-files"
RULE: Final = "1 to 200 letters, digits and _.-, no dot first"
NAMES: Final = Limits(KIND, re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}"), RULE, max_bytes=65_536)
"""Which names and sizes the appliance takes."""

OURS: Final = "keyturn"
"""The member of a document that holds Keyturn's marks, which revision it is, and the digest of the value."""


class JsonFilesSettings(Placed):
    """A directory of JSON documents, one for each copy."""

    kind: Literal["json-files"]
    """Which store this is."""
    directory: Line
    """The directory, which has to be there."""

    ADAPTER = f"{__name__}:JsonFiles"
    LIMITS = NAMES

    @property
    def system(self) -> System:
        """The directory: two entries with the same one are the same system."""
        return (self.kind, self.directory.rstrip("/"))


class JsonFiles:
    """A :class:`keyturn.core.ports.stores.Store`; ``name`` is what the catalogue calls it, and stands in errors."""

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(self, name: str, *, directory: str) -> None:
        self.name = name
        self._directory = Path(directory)
        self._limits = StoreLimits(NAMES, name)

    def describe(self, remote: str) -> RemoteSecret | None:
        """What stands there, without its value."""
        self._limits.check_name(remote, "find")
        document = self._load("find", remote)
        return None if document is None else described(remote, document)

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every document, whoever has made it."""
        with self._translated("list", "*"):
            names = sorted(file.stem for file in self._directory.glob("[!.]*.json"))
        copies = (self._load("list", name) for name in names)
        yield from (described(name, copy) for name, copy in zip(names, copies, strict=True) if copy is not None)

    def list_managed(self) -> Iterator[RemoteSecret]:
        """Those with Keyturn's marks."""
        return (copy for copy in self.list_all() if copy.marks)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Replace the document whole, value and marks together. Raises Conflict where it is not what was found."""
        self._limits.check(remote, value)
        if current is not None and current == RemoteSecret(remote, current.version_id, marks):
            return current
        with self._locked("write", remote):
            document = self._load("write", remote)
            if (None if document is None else described(remote, document)) != current:
                raise Conflict("write", self._named(remote), "it has changed since it was looked at", "Run it again")
            revision = revision_of(document or {}) + 1
            note = {**marks.to_tags(), "revision": revision, "sha256": digest(value.reveal())}
            self._replace(remote, {"value": value.reveal(), OURS: note})
        return RemoteSecret(remote, str(revision), marks)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Raises UnsupportedOperation: a document is written whole."""
        raise only_written_whole(self._named(remote))

    def read(self, remote: str) -> Sensitive:
        """The value. Raises NotFound, and Invalid for a document without one."""
        self._limits.check_name(remote, "read")
        document = self._load("read", remote)
        if document is None:
            raise NotFound("read", self._named(remote), "there is no such document", "Push it again")
        if not isinstance(document.get("value"), str):
            raise Invalid("read", self._named(remote), "its value is no text", "Write it anew, or remove it")
        return Sensitive(document["value"])

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values of those that are there."""
        values = {}
        for remote in remotes:
            with suppress(NotFound):
                values[remote] = self.read(remote)
        return values

    def delete(self, remote: str) -> None:
        """Remove the document. Absent is success."""
        self._limits.check_name(remote, "delete")
        with self._locked("delete", remote):
            self._file(remote).unlink(missing_ok=True)

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """None: a document that is replaced leaves nothing."""
        self._limits.check_name(remote, "read old versions of")
        return {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Nothing is to be done, and nothing stays."""
        self._limits.check_name(remote, "forget old versions of")
        return ()

    def purge(self, remote: str) -> tuple[str, ...]:
        """Remove the document, for good: nothing stays."""
        self.delete(remote)
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def _load(self, doing: str, remote: str) -> dict[str, Any] | None:
        """The document; None where there is none, an empty one for what is no JSON object: nobody's."""
        with self._translated(doing, remote):
            try:
                document = json.loads(self._file(remote).read_bytes())
            except FileNotFoundError:
                return None
            except (ValueError, RecursionError):
                return {}
        return document if isinstance(document, dict) else {}

    def _replace(self, remote: str, document: dict[str, Any]) -> None:
        """Whoever reads meanwhile has the old document or the new one."""
        draft = self._directory / f".{remote}.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file(remote))

    @contextmanager
    def _locked(self, doing: str, remote: str) -> Iterator[None]:
        """One writer at a time."""
        with self._translated(doing, remote), open(self._directory / ".lock", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _translated(self, doing: str, remote: str) -> Iterator[None]:
        """Whatever the file system says leaves as one of ours."""
        try:
            yield
        except OSError as error:
            raise from_os(error, doing, self._named(remote)) from None

    def _file(self, remote: str) -> Path:
        return self._directory / f"{remote}.json"

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def described(remote: str, document: dict[str, Any]) -> RemoteSecret:
    """A document as the port describes it: not intact where its value is not the one that Keyturn wrote."""
    note = note_of(document)
    marks = OwnershipTags.from_tags({key: text for key, text in note.items() if isinstance(text, str)})
    intact = marks is None or note.get("sha256") == digest(str(document.get("value")))
    return RemoteSecret(remote, str(revision_of(document)), marks, intact)


def note_of(document: dict[str, Any]) -> dict[str, Any]:
    """What Keyturn has noted in a document; nothing in others'."""
    note = document.get(OURS)
    return note if isinstance(note, dict) else {}


def revision_of(document: dict[str, Any]) -> int:
    """How often Keyturn has written the document."""
    revision = note_of(document).get("revision")
    return revision if isinstance(revision, int) else 0


def digest(value: str) -> str:
    """Tells a value from another. It may be guessed from, so it stands nowhere but beside the value itself."""
    return hashlib.sha256(value.encode(errors="replace")).hexdigest()


def from_os(error: OSError, doing: str, name: str) -> KeyturnError:
    """What an error of the file system means: only the last may be gone by itself."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return NotFound(doing, name, "the store's directory is not there", "Make it, or correct its path")
        case PermissionError():
            return Denied(doing, name, "the store's directory can't be used", "Let Keyturn's user write there")
        case _:
            return Unavailable(doing, name, f"the directory can't be used ({error.strerror})", "See the disk")
