"""Files with a login: limited in size, and safe from changes by others."""

import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.sensitive import Sensitive

log = logging.getLogger(__name__)

LIMIT: Final = 64 * 1024

_TOLD: Final[set[str]] = set()


def read_login(file: str, setting: str, *, private: bool = True) -> str:
    """The text of a file with a login, stripped. Follows links, which Kubernetes makes.

    ``setting`` is the variable that names it. Warns once if every user can read a ``private`` file. Raises NotFound,
    Unavailable, Invalid, and Denied if every user can write it.
    """
    try:
        text, status = _content(file, 0)
    except FileNotFoundError:
        hint = f"It should hold a login: correct {setting}, or write the file"
        raise NotFound("read", file, "there is no such file", hint) from None
    except OSError as error:
        problem = f"the file can't be read: {error.strerror}"
        raise Unavailable("read", file, problem, f"Check its owner and mode, and {setting}") from None
    if _open_to_all(file, status, stat.S_IWOTH):
        raise Denied("read", file, "every user of this machine may write it", "Take that right away: chmod o-w")
    if private and file not in _TOLD and _open_to_all(file, status, stat.S_IROTH):
        _TOLD.add(file)
        log.warning("%s holds a login, and every user of this machine may read it: chmod 0600 it", file)
    return _filled(text, file, setting)


def read_own(file: str) -> str | None:
    """The text of the file from a person's login; None if absent.

    Raises Denied for a link, another user's file, or one open to others.
    """
    try:
        text, status = _content(file, os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:
        raise _not_theirs(file, "it is a link, or can't be read") from None
    if status.st_uid != os.geteuid():
        raise _not_theirs(file, "it belongs to another user")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _not_theirs(file, "other users may read or write it")
    return _filled(text, file, "the file that `keyturn login` writes")


def write_own(file: str, text: Sensitive, mode: int = 0o600) -> None:
    """Write a login to a file of this user atomically, replacing a link there. Raises OSError."""
    descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(file)), prefix=".keyturn-")
    try:
        with os.fdopen(descriptor, "w") as written:
            written.write(text.reveal())
            written.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise


def _content(file: str, flags: int) -> tuple[bytes, os.stat_result]:
    # Opening a pipe without a writer would block.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        return opened.read(LIMIT + 1), status


def _filled(content: bytes, file: str, setting: str) -> str:
    text = content.decode(errors="replace").strip()
    if not text or len(content) > LIMIT or not text.isprintable():
        raise Invalid("read", file, "it holds no login", f"It should be one short line: fix it, or {setting}")
    return text


def _open_to_all(file: str, status: os.stat_result, right: int) -> bool:
    if not status.st_mode & right:
        return False
    try:
        return all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(os.path.realpath(file)).parents)
    except OSError:
        return True


def _not_theirs(file: str, problem: str) -> Denied:
    return Denied("read", file, problem, "Remove it, and log in again: `keyturn login`")
