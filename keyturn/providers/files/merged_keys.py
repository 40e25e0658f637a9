"""Single keys in files that others write too: a JSON object, or lines KEY=value, with notes in a file next to it.

Keyturn's writers lock the file. Other programs' changes show in its inode, size and time, which are checked again right
before it is replaced.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, NotFound
from keyturn.core.ports.merged_keys import Change, Shared, members_of
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import FILE, LIMITS, too_large
from keyturn.core.text import dotenv
from keyturn.core.text.dotenv import Reader
from keyturn.providers.files.directory import content, draft_name, fill_draft, identity, only_writer, replace
from keyturn.providers.sharing import MERGE, NOTHING_WRITTEN
from keyturn.providers.store_refusals import StoreLimits

BEFORE, AFTER = ".", ".keyturn-parts.json"
EMPTY: Final = Sensitive("")
Opened = Callable[[str, str, bool], AbstractContextManager[int | None]]
"""Takes the action, the file, and whether to create the directory; yields the directory's descriptor."""


class SharedFiles:
    """``Shares`` in one directory; with ``lines`` the files are lines for ``reader``."""

    atomic = False

    def __init__(
        self,
        name: str,
        opened: Opened,
        marks: Callable[[int, str], OwnershipTags | None],
        lines: bool,
        reader: Reader | None,
    ) -> None:
        self.name = name
        self._opened = opened
        self._marks = marks
        self._lines = lines
        self._reader = reader
        self._limits = StoreLimits(LIMITS[FILE], name)

    def look(self, remote: str) -> Shared | None:
        self._limits.check_name(remote, MERGE)
        with self._opened(MERGE, remote, False) as directory:
            if directory is None:
                return None
            try:
                text, status = content(directory, remote)
            except FileNotFoundError:
                return None
            except UnicodeDecodeError:
                raise Invalid(MERGE, self._named(remote), "it is not UTF-8 text", NOTHING_WRITTEN) from None
            tags, marks = _notes(directory, remote), self._marks(directory, remote)
        whole = text if text or self._lines else None
        try:
            members = self._members(whole) if whole is not None and marks is None else {}
        except ValueError as error:
            raise Invalid(MERGE, self._named(remote), str(error), NOTHING_WRITTEN) from None
        shown = None if self._lines else whole
        version = "-".join(map(str, identity(status).values()))
        return Shared(remote, version, members, shown, tags, marks, texts=self._lines, seen=(whole, status))

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Write the notes, then replace the whole file atomically; mode and owner stay."""
        text = self._text(remote, change, current)
        with self._opened(MERGE, remote, True) as directory:
            if directory is None:
                raise NotFound(MERGE, self._named(remote), "the directory was removed", "It is made again by itself")
            with only_writer(directory, remote) as descriptor:
                self._refuse_changed(directory, remote, current)
                notes = _notes(directory, remote)
                if change.laid:
                    _keep(directory, remote, {**notes, **change.laid})
                if change or current is None:
                    fill_draft(descriptor, text)
                    _as_before(descriptor, current)
                    self._refuse_changed(directory, remote, current)
                    os.rename(draft_name(remote), remote, src_dir_fd=directory, dst_dir_fd=directory)
                else:
                    os.unlink(draft_name(remote), dir_fd=directory)
                if change.removed:
                    laid = {**notes, **change.laid}
                    _keep(directory, remote, {name: note for name, note in laid.items() if name not in change.removed})
            os.fsync(directory)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        with self._opened("list", "*", False) as directory:
            names = os.listdir(directory) if directory is not None else []
            beside = [name for name in names if name.startswith(BEFORE) and name.endswith(AFTER)]
            remotes = [name.removeprefix(BEFORE).removesuffix(AFTER) for name in beside]
            noted = [(remote, _notes(directory, remote)) for remote in remotes if remote in names and directory]
        return iter(noted)

    def tidy(self, remote: str) -> None:
        with self._opened(MERGE, remote, False) as directory:
            if directory is None or draft_name(remote) not in os.listdir(directory):
                return
            with only_writer(directory, remote):
                os.unlink(draft_name(remote), dir_fd=directory)

    def _members(self, text: Sensitive) -> dict[str, Any]:
        if not self._lines:
            return members_of(text)
        return {line.key: line.text for line in dotenv.lines_of(text, self._reader) if line.key}

    def _text(self, remote: str, change: Change, current: Shared | None) -> Sensitive:
        before = current.seen[0] if current else None
        try:
            if self._lines:
                text = dotenv.edited(before or EMPTY, change.put, change.take, self._reader)
            else:
                text = change.text(before)
        except ValueError as error:
            raise Invalid(MERGE, self._named(remote), str(error), NOTHING_WRITTEN) from None
        if text and (problem := too_large(FILE, len(text.reveal().encode()))):
            raise Invalid(MERGE, self._named(remote), f"{problem}, with the keys of others", "Nothing was written")
        return text

    def _refuse_changed(self, directory: int, remote: str, current: Shared | None) -> None:
        now = None
        with suppress(FileNotFoundError):
            now = identity(os.stat(remote, dir_fd=directory, follow_symlinks=False))
        if now != (identity(current.seen[1]) if current else None):
            problem = "it was written by someone else in the meantime"
            raise Conflict(MERGE, self._named(remote), problem, "Run it again")

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _as_before(descriptor: int, current: Shared | None) -> None:
    if current is None:
        return
    before, now = current.seen[1], os.fstat(descriptor)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _notes(directory: int, remote: str) -> dict[str, str]:
    try:
        notes = json.loads(content(directory, f"{BEFORE}{remote}{AFTER}")[0].reveal())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    sound = isinstance(notes, dict) and all(isinstance(text, str) for text in notes.values())
    return notes if sound else {}


def _keep(directory: int, remote: str, notes: Mapping[str, str]) -> None:
    name = f"{BEFORE}{remote}{AFTER}"
    if notes:
        replace(directory, name, json.dumps(notes))
        return
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
