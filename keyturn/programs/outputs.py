"""Files that programs read secrets from: whole or not at all, for their owner, and through no link of somebody else's.

All that belong together are written beside their places first, and take them when all of them are there.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.files.directory import StillHeld, content, draft_name, fill_draft, only_writer

MODE: Final = 0o600
WRITE: Final = "write"

O_PATH: Final = os.O_PATH | os.O_CLOEXEC

LINKS: Final = 40
"""How many links may lead to a directory, as in the kernel (path_resolution(7))."""


@dataclass(frozen=True)
class Output:
    """A file and what it shall hold."""

    file: Path
    text: Sensitive
    mode: int = MODE


def write_outputs(outputs: Sequence[Output]) -> list[Output]:
    """Write those that hold something else by now, all or none, and tell which; an owner that is there stays.

    Raises Invalid for a link, or no regular file, in a file's place; Denied and Unavailable as the system does.
    """
    with ExitStack() as opened:
        drafts = []
        for output in outputs:
            with naming(output.file):
                directory = opened.enter_context(open_directory(output.file.parent))
                if not is_as_it_shall(directory, output):
                    opened.enter_context(draft(directory, output))
                    drafts.append((directory, output))
        place(drafts)
        return [output for _, output in drafts]


def remove_outputs(outputs: Sequence[Output]) -> None:
    """Remove those that still hold what was written. Absent is success; what can't be removed stays."""
    for output in outputs:
        with suppress(OSError, KeyturnError), open_directory(output.file.parent) as directory:
            if is_as_it_shall(directory, output):
                os.unlink(output.file.name, dir_fd=directory)


def is_as_it_shall(directory: int, output: Output) -> bool:
    """Whether the file is as it shall be, its mode too. Raises Invalid for a link and the like in its place."""
    name = output.file.name
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        problem = "a symbolic link stands there" if stat.S_ISLNK(status.st_mode) else "what stands there is no file"
        raise Invalid(WRITE, str(output.file), problem, "Name the file itself: no link is followed")
    if stat.S_IMODE(status.st_mode) != output.mode or status.st_size != len(output.text.reveal().encode()):
        return False
    try:
        return content(directory, name)[0] == output.text
    except (PermissionError, UnicodeDecodeError):
        return False


@contextmanager
def draft(directory: int, output: Output) -> Iterator[None]:
    """The new file beside its place, written to the disk; gone again where anything fails."""
    with only_writer(directory, output.file.name) as descriptor:
        fill_draft(descriptor, output.text)
        with suppress(FileNotFoundError):
            owner = os.stat(output.file.name, dir_fd=directory, follow_symlinks=False)
            made = os.fstat(descriptor)
            if (owner.st_uid, owner.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fchmod(descriptor, output.mode)
        yield


def place(drafts: Sequence[tuple[int, Output]]) -> None:
    """Let every draft take its place, or none: what was there before comes back where one can't."""
    with ExitStack() as undone:
        for directory, output in drafts:
            name = output.file.name
            with naming(output.file):
                if len(drafts) > 1:
                    undone.callback(put_back, directory, name, keep_beside(directory, name))
                os.rename(draft_name(name), name, src_dir_fd=directory, dst_dir_fd=directory)
        undone.pop_all()
    for directory, output in drafts:
        with naming(output.file):
            remove_former(directory, output.file.name)
            os.fsync(directory)


def former_name(name: str) -> str:
    """Where a file stands for a moment that another one takes the place of."""
    return f".{name}.keyturn.old"


def remove_former(directory: int, name: str) -> None:
    """Take the second name away, that of a killed write too."""
    with suppress(FileNotFoundError):
        os.unlink(former_name(name), dir_fd=directory)


def keep_beside(directory: int, name: str) -> bool:
    """Give a file a second name; False where there is none."""
    remove_former(directory, name)
    try:
        os.link(name, former_name(name), src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def put_back(directory: int, name: str, former: bool) -> None:
    """As it was before, as far as that can be."""
    with suppress(OSError):
        if former:
            os.rename(former_name(name), name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


@contextmanager
def open_directory(directory: Path) -> Iterator[int]:
    """A directory's descriptor; links on the way are followed where root or this user has made them.

    Raises Denied for somebody else's: they could lead anywhere, and elsewhere in a moment.
    """
    descriptor = walk(Path(os.path.abspath(directory)))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(directory: Path) -> int:
    """Open an absolute path one step after another, so that nobody can exchange what was looked at."""
    steps, links = list(reversed(directory.parts[1:])), 0
    at = os.open("/", O_PATH)
    try:
        while steps:
            target, there = step_into(at, steps.pop())
            if target is None:
                os.close(at)
                at = there
                continue
            if (links := links + 1) > LINKS:
                raise OSError(errno.ELOOP, "too many links", str(directory))
            if target.startswith("/"):
                os.close(at)
                at = os.open("/", O_PATH)
            steps += reversed([part for part in target.split("/") if part not in ("", ".")])
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
    finally:
        os.close(at)


def step_into(directory: int, name: str) -> tuple[str | None, int]:
    """What is called so, open; or where it leads, if it is a link. Raises Denied for a link that is another user's."""
    there = os.open(name, O_PATH | os.O_NOFOLLOW, dir_fd=directory)
    status = os.fstat(there)
    if not stat.S_ISLNK(status.st_mode):
        return None, there
    try:
        if status.st_uid not in (0, os.geteuid()):
            raise Denied(WRITE, name, "it is a symbolic link that another user has made", "Name the directory itself")
        return os.readlink("", dir_fd=there), -1
    finally:
        os.close(there)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """The system's refusals, as errors of ours that name the file."""
    try:
        yield
    except StillHeld as error:
        raise Unavailable(WRITE, str(file), f"{error.holder}, holds its draft", "Let it go on, or end it") from None
    except OSError as error:
        raise of_file(error, file) from None


def of_file(error: OSError, file: Path) -> KeyturnError:
    """One of them."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(WRITE, str(file), reason, f"Check who owns {file.parent} and what is in it, and its mode")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
        return Invalid(WRITE, str(file), reason, f"Make the directory {file.parent}, or name another one")
    return Unavailable(WRITE, str(file), reason, "Make room there; nothing was changed")
