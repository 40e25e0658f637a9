"""A signal to the process that a pid file names, and never to a later process with the same number.

Sources: proc(5), pidfd_open(2), pidfd_send_signal(2).
"""

import os
import re
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable, UnsupportedOperation
from keyturn.providers.deliver_notices import DOING

LONGEST: Final = 64  # bytes of a pid file
LARGEST: Final = 2**22
SLACK: Final = 2.0  # seconds
WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
RUNS: Final = "See whether the program runs, and writes its number there when it starts"


def send_signal(name: str, pid_file: str, number: signal.Signals) -> None:
    """Send it once the process is verified as the one in the file, with a handler for the signal.

    Raises Unavailable without such a process, Denied and Invalid for an untrusted one.
    """
    with _opened(name, pid_file) as file:
        status = os.fstat(file.fileno())
        pid = _number(name, file, status)
    with _process(name, pid) as descriptor:
        # The checks below use the number; the descriptor then fails if that process ended meanwhile.
        if flaw := _flaw(name, pid, status, number):
            raise flaw
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            raise _gone(name, pid) from None
        except PermissionError:
            hint = "Run it as the worker's user, or allow the worker CAP_KILL"
            raise Denied(DOING, name, f"the worker may not signal process {pid}", hint) from None


def _opened(name: str, pid_file: str) -> FileIO:
    try:
        descriptor = os.open(pid_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unavailable(DOING, name, "its pid file is not there", RUNS) from None
    except OSError as error:
        raise Invalid(DOING, name, f"its pid file can't be read: {error.strerror}", "Correct its path") from None
    return FileIO(descriptor)


def _number(name: str, file: FileIO, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise Invalid(DOING, name, "its pid file is no regular file", "Correct its path")
    if status.st_mode & WRITABLE:
        hint = "Remove that right: its writer decides which process is signalled"
        raise Denied(DOING, name, "others than its owner may write its pid file", hint)
    text = file.read(LONGEST + 1) or b""
    written = re.fullmatch(rb"\s*([1-9][0-9]{0,6})\s*", text) if len(text) <= LONGEST else None
    pid = int(written[1]) if written else 0
    if not 1 < pid <= LARGEST:
        raise Invalid(DOING, name, "its pid file holds no number of a process", RUNS)
    if pid in (os.getpid(), os.getppid()):
        raise Invalid(DOING, name, "its pid file names Keyturn's own process", "Name the program's pid file")
    return pid


@contextmanager
def _process(name: str, pid: int) -> Iterator[int]:
    if not hasattr(os, "pidfd_open"):
        raise UnsupportedOperation(DOING, name, "this system can't hold on to a process", "Say directory alone")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        raise _gone(name, pid) from None
    except OSError as error:
        raise UnsupportedOperation(DOING, name, f"no process can be held on to: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _flaw(name: str, pid: int, written: os.stat_result, number: signal.Signals) -> KeyturnError | None:
    try:
        state, began = _stat(pid)
        about = _status(pid)
        owner, caught = int(about["Uid"].split()[0]), int(about["SigCgt"], 16)
    except (OSError, LookupError, ValueError):
        return _gone(name, pid)
    if state in "ZX":
        return _gone(name, pid)
    if began > written.st_mtime + SLACK:
        problem = f"process {pid} began after its pid file was written, so it is another one"
        return Unavailable(DOING, name, problem, RUNS)
    if written.st_uid not in (0, owner):
        return Denied(DOING, name, f"process {pid} is not of the user who owns its pid file", "Correct its path")
    if not caught >> (number - 1) & 1:
        problem = f"process {pid} has no handler for {number.name}, which could end it"
        return Invalid(DOING, name, problem, "Let the program handle the signal, or name another under signal")
    return None


def _stat(pid: int) -> tuple[str, float]:
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    booted = next(line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return state, int(booted) + int(fields[18]) / os.sysconf("SC_CLK_TCK")


def _status(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _gone(name: str, pid: int) -> KeyturnError:
    return Unavailable(DOING, name, f"process {pid}, which its pid file names, does not run here", RUNS)
