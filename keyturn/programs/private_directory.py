"""A directory in memory for one process's files."""

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from keyturn.core.errors import Invalid, Unavailable
from keyturn.programs.outputs import open_directory

PREFIX: Final = "keyturn-exec-"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - looked at before anything is written there
RUNTIME: Final = "XDG_RUNTIME_DIR"

TMPFS: Final = 0x01021994
RAMFS: Final = 0x858458F6
"""Source: statfs(2)."""

HINT: Final = "Mount a tmpfs there (in a container: --tmpfs, or an emptyDir of medium Memory), or say --allow-disk"


def in_memory(descriptor: int) -> bool:
    """Whether an open file is on tmpfs or ramfs, which only swap writes to disk."""
    # The structure has about a hundred bytes, and begins with the type, a long.
    answer = (ctypes.c_ulong * 64)()
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, answer):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return answer[0] & 0xFFFFFFFF in (TMPFS, RAMFS)


def insist_on_memory(directory: Path) -> None:
    with open_directory(directory) as descriptor:
        if not in_memory(descriptor):
            raise Invalid("keep a secret in", str(directory), "it is not in memory: it would reach a disk", HINT)


class PrivateDirectory:
    """A directory of mode 0700 below ``base`` or the first usable place in memory, removed by a ``with`` block.

    Its lock ends with the process, so that the next one can remove what a killed one left. ``on_disk`` allows any
    place, by default below the directory for temporary files.
    """

    def __init__(self, base: Path | None = None, *, on_disk: bool = False) -> None:
        below = base or chosen_base(on_disk)
        sweep(below)
        # It has another name until it is locked, so that no other process removes it as left over.
        made = tempfile.mkdtemp(prefix=".keyturn-", dir=below)
        self._descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = below / f"{PREFIX}{os.path.basename(made).removeprefix('.keyturn-')}"
        os.rename(made, self.path)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chosen_base(on_disk: bool) -> Path:
    runtime = os.environ.get(RUNTIME)
    for base in (*([Path(runtime)] if runtime else []), SHARED_MEMORY):
        if os.access(base, os.W_OK | os.X_OK) and lies_in_memory(base):
            return base
    if on_disk:
        return Path(tempfile.gettempdir())
    problem = f"neither {RUNTIME} nor {SHARED_MEMORY} is a tmpfs that this user may write to"
    raise Unavailable("keep files in", "memory", problem, HINT)


def lies_in_memory(base: Path) -> bool:
    with suppress(OSError):
        descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return in_memory(descriptor)
        finally:
            os.close(descriptor)
    return False


def sweep(base: Path) -> None:
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                remove_if_left(Path(entry.path))


def remove_if_left(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
    finally:
        os.close(descriptor)
