"""A program as a child of this process: begun, told signals, ended with all that it began, and its end seen.

Linux's own: the child is told when this process dies, and what it leaves behind comes back here (prctl(2)).
"""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from keyturn.core.errors import TerminalError
from keyturn.core.sensitive import Sensitive
from keyturn.programs.terminal import Terminal

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36

LONGEST_SWEEP: Final = 5.0
"""Seconds for which processes are looked for that a program has left: each may have begun others meanwhile."""
PAUSE: Final = 0.005


def adopt_orphans() -> bool:
    """Let whatever descendants lose their parents become children of this process; false where that can't be had."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Group(Enum):
    """In which process group a program runs."""

    OWN = auto()
    IN_FRONT = auto()
    """In one of its own, which what is typed comes to."""
    SHARED = auto()
    """In this process's, with whatever a shell has put there besides: what is typed comes to all of them."""


class Children:
    """The children of this process: the one program, what a template has begun, and adopted ones."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
        self._ends: dict[int, int] = {}
        self._own: set[int] = set()
        self._before = living_children()

    def begin(
        self, command: Sequence[str], environment: Mapping[str, str], secrets: Mapping[str, Sensitive], group: Group
    ) -> int:
        """Begin a program, and return its pid.

        Call it in the main thread: the program is told of the end of the thread that began it. Raises NotBegun.
        """
        parent = os.getpid()

        def prepare() -> None:
            if self._prctl:
                self._prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            if group is Group.IN_FRONT:
                # Before it becomes another program, which may ask for input at once.
                self._terminal.give_to(os.getpid())

        clear = {**environment, **{name: text.reveal() for name, text in secrets.items()}}
        apart = None if group is Group.SHARED else 0
        try:
            process = subprocess.Popen(
                list(command), env=clear, preexec_fn=prepare, process_group=apart, close_fds=False
            )
        except OSError as error:
            raise not_begun(command[0], error) from None
        # Its end is waited for here, along with that of others.
        process.returncode = 0
        self._ends.pop(process.pid, None)
        self._own.add(process.pid)
        return process.pid

    def look(self) -> set[int]:
        """Take note of all that have ended; which of ours were stopped."""
        stopped: set[int] = set()
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
                if not pid:
                    break
                if os.WIFSTOPPED(status):
                    stopped |= {pid} & self._own
                elif pid in self._own:
                    self._own.discard(pid)
                    self._ends[pid] = exit_code(status)
        return stopped

    def ended(self, pid: int) -> int | None:
        """The exit code of one of ours, as a shell tells it; None while it lives."""
        return self._ends.get(pid)

    @property
    def rest(self) -> set[int]:
        """What an ended program has left, as far as it has come to this process."""
        return living_children() - self._own - self._before

    def kill_rest(self) -> bool:
        """Kill what an ended program has left, wherever it has gone; False where some of it can't be."""
        until = time.monotonic() + LONGEST_SWEEP
        while rest := self.rest:
            for pid in rest:
                signal_program(pid, signal.SIGKILL)
            time.sleep(PAUSE)
            self.look()
            if time.monotonic() > until:
                return False
        return True


def group_of(terminal: Terminal) -> Group:
    """In front where it has the terminal to itself; in a pipe others may need it, and what is typed is for all."""
    if not terminal.in_front:
        return Group.OWN
    return Group.IN_FRONT if os.isatty(0) and os.isatty(1) else Group.SHARED


def exit_code(status: int) -> int:
    """What a shell tells of an end: the code, or 128 and the number of the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to a program and to what it began in its group; False where none of them is there any more."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def signal_program(pid: int, number: int) -> None:
    """Send a signal to the program alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def living_children() -> set[int]:
    """The children of this process, adopted ones too, but for those that have ended (proc(5))."""
    children: set[int] = set()
    if sys.platform != "linux":
        return children
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            children |= set(map(int, (task / "children").read_text().split()))
    return {pid for pid in children if lives(pid)}


def lives(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class NotBegun(TerminalError):
    """The program could not be begun; ``code`` is what a shell ends with then."""

    def __init__(self, program: str, problem: str, hint: str, code: int = 126) -> None:
        super().__init__("run", program, problem, hint)
        self.code = code


def not_begun(program: str, error: OSError) -> NotBegun:
    """Why; what it was given is not named."""
    if isinstance(error, FileNotFoundError):
        return NotBegun(program, "there is no such program", "Check its name, PATH, and what its first line names", 127)
    if isinstance(error, PermissionError):
        return NotBegun(program, "it may not be executed", "Check its mode")
    if error.errno == errno.E2BIG:
        return NotBegun(program, "its environment is too large", "Give large values as files")
    return NotBegun(program, os.strerror(error.errno or 0), "See whether it is a program for this machine")
