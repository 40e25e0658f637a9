"""The local token, in a file that only permitted programs can read.

By default, ``AWS_TOKEN`` contains it, or ``file://`` and its path, as for AWS's agent.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive

VARIABLE: Final = "AWS_TOKEN"
NAME: Final = "keyturn-agent-token"
MODE: Final = 0o600
SHORTEST: Final = 16
LONGEST: Final = 4096


def token_from(env: Mapping[str, str], file: Path | None, mode: int = MODE) -> tuple[Sensitive, str]:
    """The token, and its place for messages. Creates a missing file with ``mode``. Raises Invalid, OSError."""
    text = env.get(VARIABLE, "")
    if file is None and text and not text.startswith("file://"):
        return _checked(text, VARIABLE), VARIABLE
    place = file or (Path(urlsplit(text).path) if text else default_file(env))
    make_token(place, mode)
    return read_token(place), str(place)


def default_file(env: Mapping[str, str]) -> Path:
    """A file in the runtime directory of systemd or the session. Raises Invalid."""
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if directory := env.get(variable, "").partition(":")[0]:
            return Path(directory) / NAME
    problem = "neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set"
    raise Invalid("find", "a place for the agent's token", problem, f"Give --token-file, or set {VARIABLE}")


def make_token(file: Path, mode: int = MODE) -> None:
    """Write a new token of 256 bits, unless the file exists."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    except FileExistsError:
        return
    try:
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(descriptor, mode)
            stream.write(f"{secrets.token_urlsafe(32)}\n")
    except OSError as error:
        file.unlink()  # an empty file would be refused at every later start
        raise OSError(error.errno, error.strerror, str(file)) from None


def read_token(file: Path) -> Sensitive:
    """The token of a file that others may not read or write. Raises Invalid, OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid not in (0, os.geteuid()):
            raise _unsafe(file, "it is no file of the agent's user")
        if about.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
            raise _unsafe(file, "others may write it, or all may read it")
        return _checked(os.read(descriptor, LONGEST + 1).decode("ascii", "replace").strip(), str(file))
    finally:
        os.close(descriptor)


def _checked(text: str, place: str) -> Sensitive:
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii() or not text.isprintable():
        problem = f"it has to be {SHORTEST} to {LONGEST} characters that can be printed"
        hint = "Set another one" if place == VARIABLE else "Delete it: the agent makes one"
        raise Invalid("read", f"the token in {place}", problem, hint)
    return Sensitive(text)


def _unsafe(file: Path, problem: str) -> Invalid:
    hint = "Give it to the agent's user with mode 0600, or 0640 for a group"
    return Invalid("read", f"the token in {file}", problem, hint)
