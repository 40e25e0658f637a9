"""Files with secrets for programs: written completely or not at all, for their owner, through no foreign link.

Files that belong together are written next to their places, and renamed once all are complete.
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
"""The limit of links in a path, as in the kernel (path_resolution(7))."""


@dataclass(frozen=True)
class Output:
    file: Path
    text: Sensitive
    mode: int = MODE


def write_outputs(outputs: Sequence[Output]) -> list[Output]:
    """Write the files whose content differs, all or none, and return them. An existing file keeps its owner.

    Raises Invalid for a link or a non-regular file in its place, Denied, and Unavailable.
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
    """Remove the files that still have the written content, ignoring failures."""
    for output in outputs:
        with suppress(OSError, KeyturnError), open_directory(output.file.parent) as directory:
            if is_as_it_shall(directory, output):
                os.unlink(output.file.name, dir_fd=directory)


def is_as_it_shall(directory: int, output: Output) -> bool:
    name = output.file.name
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        problem = "there is a symbolic link" if stat.S_ISLNK(status.st_mode) else "it is not a regular file"
        raise Invalid(WRITE, str(output.file), problem, "Name the file itself: no link is followed")
    if stat.S_IMODE(status.st_mode) != output.mode or status.st_size != len(output.text.reveal().encode()):
        return False
    try:
        return content(directory, name)[0] == output.text
    except (PermissionError, UnicodeDecodeError):
        return False


@contextmanager
def draft(directory: int, output: Output) -> Iterator[None]:
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
    return f".{name}.keyturn.old"


def remove_former(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(former_name(name), dir_fd=directory)


def keep_beside(directory: int, name: str) -> bool:
    remove_former(directory, name)
    try:
        os.link(name, former_name(name), src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def put_back(directory: int, name: str, former: bool) -> None:
    with suppress(OSError):
        if former:
            os.rename(former_name(name), name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


@contextmanager
def open_directory(directory: Path) -> Iterator[int]:
    """Open a directory. Links on the way are followed where root or this user has made them.

    Raises Denied for another user's links, which that user could redirect.
    """
    descriptor = walk(Path(os.path.abspath(directory)))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(directory: Path) -> int:
    """Open an absolute path by components, so that no checked one can be exchanged."""
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
    """Open a component, or return a link's target. Raises Denied for another user's link."""
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
    try:
        yield
    except StillHeld as error:
        raise Unavailable(WRITE, str(file), f"{error.holder}, holds its draft", "Let it go on, or end it") from None
    except OSError as error:
        raise of_file(error, file) from None


def of_file(error: OSError, file: Path) -> KeyturnError:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(WRITE, str(file), reason, f"Check who owns {file.parent} and what is in it, and its mode")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
        return Invalid(WRITE, str(file), reason, f"Make the directory {file.parent}, or name another one")
    return Unavailable(WRITE, str(file), reason, "Make room there; nothing was changed")
