"""The directory of a group's processes: their sockets, the promises, and who reads for all.

It belongs to one user, and never contains a value. All access uses one open descriptor, which a replaced directory does
not affect. A replacement is detected, and joined.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from keyturn.client.host.wire import Message, Promised
from keyturn.client.private_directory import OpenDirectory, open_private
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.files import PRIVATE_DIRECTORY, PRIVATE_FILE
from keyturn.core.notifications.notices import Notice

SUFFIX: Final = ".sock"
BORN: Final = "born"
PROMISES: Final = "promises.json"
LOCK: Final = "lock"
LEADER: Final = "leader"
LIMIT: Final = 4000
"""The limit of stored promises; the next to end are dropped first."""
LARGEST: Final = 8 * 2**20
"""Bytes of the file with the promises."""

Clock = Callable[[], float]


class Directory:
    """An open directory. Raises Denied where others may use it, and Unavailable."""

    def __init__(self, place: Path, patience: float) -> None:
        self.place = place
        with self._explained("join"):
            self.descriptor = _opened(place)
            # Threads may still use it after leaving, so it stays open while a reference exists.
            weakref.finalize(self, os.close, self.descriptor)
            self._files = OpenDirectory(self.descriptor, patience)
            self._make(BORN)

    def address(self, name: str) -> str:
        """A short path of a socket, whatever the directory's own path."""
        return f"/proc/self/fd/{self.descriptor}/{name}"

    def fresh_name(self) -> str:
        """A name that no socket has had."""
        return secrets.token_hex(8)

    def publish(self, name: str) -> str:
        """Publish a listening socket, and return its name."""
        published = name + SUFFIX
        with self._explained("join"):
            os.rename(name, published, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        return published

    def members(self) -> list[str]:
        """The sockets of all processes, even ended ones."""
        with self._explained("look through"):
            return sorted(name for name in os.listdir(self.descriptor) if name.endswith(SUFFIX))

    def remove(self, name: str) -> None:
        """Remove the socket of an ended process."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.descriptor)

    def holds(self, name: str) -> bool:
        """Whether this is still the directory at its place, with the socket."""
        try:
            there, this = os.stat(self.place, follow_symlinks=False), os.fstat(self.descriptor)
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (this.st_dev, this.st_ino)

    def age(self) -> float:
        """Seconds since it was created."""
        with self._explained("look at"):
            return max(0.0, time.time() - os.stat(BORN, dir_fd=self.descriptor).st_mtime)

    def promise(self, promised: Iterable[Promised]) -> None:
        """Add these promises for later processes."""
        with self._explained("write to"), self._files.locked(LOCK):
            now, promises = time.time(), self._read()
            for notice, remaining in promised:
                _keep(promises, notice, now + remaining)
            latest = sorted(promises.items(), key=lambda item: item[1][1])[-LIMIT:]
            self._write({path: {"notice": notice.to_json(), "until": until} for path, (notice, until) in latest})

    def promised(self) -> list[Promised]:
        """The valid promises, with the seconds left."""
        with self._explained("read"):
            now = time.time()
            return [(notice, until - now) for notice, until in self._read().values() if until > now]

    def lead(self, name: str) -> int | None:
        """Become the process that reads for all, until the returned descriptor is closed; None where another is."""
        with self._explained("join"):
            descriptor = os.open(LEADER, _flags(os.O_RDWR), PRIVATE_FILE, dir_fd=self.descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, name.encode(), 0)
            except BlockingIOError:
                os.close(descriptor)
                return None
            return descriptor

    def leader(self) -> str:
        """The socket of the current or last process that reads for all, if any."""
        try:
            descriptor = os.open(LEADER, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.descriptor)
        except OSError:
            return ""
        with os.fdopen(descriptor) as file:
            name = file.read(256)
        return name if name.endswith(SUFFIX) and "/" not in name else ""

    def _make(self, name: str) -> None:
        os.close(os.open(name, _flags(os.O_WRONLY), PRIVATE_FILE, dir_fd=self.descriptor))

    def _read(self) -> dict[str, tuple[Notice, float]]:
        text = self._files.read(PROMISES, LARGEST)
        return {} if text is None else self._parsed(text)

    def _parsed(self, text: bytes) -> dict[str, tuple[Notice, float]]:
        try:
            return {
                path: (Notice.from_json(data["notice"]), float(data["until"]))
                for path, data in json.loads(text).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            hint = "End the processes of the group, and remove the directory"
            raise Invalid("read", str(self.place / PROMISES), "it was changed", hint) from None

    def _write(self, promises: dict[str, Message]) -> None:
        self._files.replace(PROMISES, json.dumps(promises).encode(), lasting=False)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(doing, str(self.place), str(error.strerror), "See to that directory") from None


def _keep(promises: dict[str, tuple[Notice, float]], notice: Notice, until: float) -> None:
    """Keep the newer notice. A lower version is newer where the secret was created again."""
    if before := promises.get(notice.secret_path):
        older, ends = before
        if older.oldest_served > notice.oldest_served and notice.timestamp <= older.timestamp:
            notice, until = older, max(until, ends)
    promises[notice.secret_path] = (notice, until)


def _flags(mode: int) -> int:
    return mode | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def _opened(place: Path) -> int:
    place.parent.mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        place.mkdir(PRIVATE_DIRECTORY)
    _insist_on_way(place)
    try:
        return open_private(place)
    except (NotADirectoryError, PermissionError) as error:
        others = error.errno == errno.EPERM
        raise _not_ours(
            place, "is another user's, or open to others" if others else "is no directory of this user"
        ) from None


def _insist_on_way(place: Path) -> None:
    """Raise Denied for another user's link or directory on the way, which that user could redirect."""
    for step in (*place.parents, *place.resolve().parents):
        if os.lstat(step).st_uid not in (0, os.geteuid()):
            raise _not_ours(place, f"is reached by way of {step}, which is another user's")


def _not_ours(place: Path, problem: str) -> Denied:
    return Denied("join", str(place), f"it {problem}", "Remove it, or give HostGroup another directory (mode 0700)")
