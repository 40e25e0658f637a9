"""Starts, signals and ends programs as children of this process.

On Linux, the end of this process signals them, and it adopts their orphans (prctl(2)).
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
"""Seconds for the search for remaining processes, which may start others."""
PAUSE: Final = 0.005


def adopt_orphans() -> bool:
    """Adopt orphaned descendants; False where the system does not support that."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Group(Enum):
    """The process group of a program."""

    OWN = auto()
    IN_FRONT = auto()
    """In a group that has the terminal's foreground, and receives what is typed."""
    SHARED = auto()
    """In this process's group, with the shell's other programs; all receive what is typed."""


class Children:
    """The children of this process: the program, templates' commands, and adopted ones."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
        self._ends: dict[int, int] = {}
        self._own: set[int] = set()
        self._before = living_children()

    def begin(
        self, command: Sequence[str], environment: Mapping[str, str], secrets: Mapping[str, Sensitive], group: Group
    ) -> int:
        """Start a program, and return its pid. Raises NotBegun.

        Call it in the main thread, because the end of the calling thread signals the program.
        """
        parent = os.getpid()

        def prepare() -> None:
            if self._prctl:
                self._prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
            if group is Group.IN_FRONT:
                # Before exec, because the program may ask for input at once.
                self._terminal.give_to(os.getpid())

        clear = {**environment, **{name: text.reveal() for name, text in secrets.items()}}
        apart = None if group is Group.SHARED else 0
        try:
            process = subprocess.Popen(
                list(command), env=clear, preexec_fn=prepare, process_group=apart, close_fds=False
            )
        except OSError as error:
            raise not_begun(command[0], error) from None
        # :meth:`look` waits for its end, along with that of others.
        process.returncode = 0
        self._ends.pop(process.pid, None)
        self._own.add(process.pid)
        return process.pid

    def look(self) -> set[int]:
        """Record ended children, and return those of its own that were stopped."""
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
        return self._ends.get(pid)

    @property
    def rest(self) -> set[int]:
        """The remaining processes of an ended program that this process adopted."""
        return living_children() - self._own - self._before

    def kill_rest(self) -> bool:
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
    """Foreground for sole use of the terminal; shared in a pipe, where others may need the input."""
    if not terminal.in_front:
        return Group.OWN
    return Group.IN_FRONT if os.isatty(0) and os.isatty(1) else Group.SHARED


def exit_code(status: int) -> int:
    """The exit code as in a shell: the code, or 128 plus the number of the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to a program's group; False where no process is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def signal_program(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def living_children() -> set[int]:
    children: set[int] = set()
    if sys.platform != "linux":
        return children
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            children |= set(map(int, (task / "children").read_text().split()))
    return {pid for pid in children if lives(pid)}


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class NotBegun(TerminalError):
    """The program could not be started; ``code`` is a shell's exit code for that."""

    def __init__(self, program: str, problem: str, hint: str, code: int = 126) -> None:
        super().__init__("run", program, problem, hint)
        self.code = code


def not_begun(program: str, error: OSError) -> NotBegun:
    if isinstance(error, FileNotFoundError):
        return NotBegun(program, "there is no such program", "Check its name, PATH, and what its first line names", 127)
    if isinstance(error, PermissionError):
        return NotBegun(program, "it may not be executed", "Check its mode")
    if error.errno == errno.E2BIG:
        return NotBegun(program, "its environment is too large", "Give large values as files")
    return NotBegun(program, os.strerror(error.errno or 0), "See whether it is a program for this machine")
