"""One supervised process: it outlives whoever started it, and is known again by its pid and start time."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from keyturn.core.errors import Unavailable
from local.support.files import private_directory, write_private

SHOWN_LINES: Final = 12
"""How much of a log an error shows."""

_children: Final[dict[int, "subprocess.Popen[bytes]"]] = {}
"""Processes that this interpreter started: they must be reaped here, or they stay as zombies."""


@dataclass(frozen=True)
class Account:
    """The system user that a process runs as, where that isn't the caller."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Identity:
    """A pid together with when its process began, so that a recycled pid is recognised as somebody else."""

    pid: int
    began: str


class Process:
    """A named process whose log and identity lie in one directory.

    Another interpreter that makes a ``Process`` of the same name and directory speaks of the same process.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._record = directory / f"{name}.pid"

    @property
    def pid(self) -> int | None:
        """The pid of the process while it runs; None otherwise."""
        identity = self._identity()
        return identity.pid if identity else None

    def start(
        self,
        command: Sequence[str],
        *,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        timeout: float = 30,
    ) -> None:
        """Start it unless it runs, and return when ``ready`` says so, within ``timeout`` seconds.

        Raises Unavailable with the end of its log when it dies or does not become ready; it is stopped then.
        """
        if self.pid is None:
            self._spawn(command, environment, cwd, account)
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None:
                raise self._failed("it ended while starting")
            if time.monotonic() > deadline:
                self.stop()
                raise self._failed(f"it was not ready within {timeout:.0f} s")
            time.sleep(0.02)

    def stop(self, first: signal.Signals = signal.SIGTERM, timeout: float = 10) -> None:
        """End it and all that it started: the ``first`` signal, after ``timeout`` s SIGKILL. Absent is success."""
        identity = self._identity()
        if identity is not None:
            _signal(identity.pid, first)
            if not self._gone_within(timeout):
                _signal(identity.pid, signal.SIGKILL)
                self._gone_within(timeout)
            # It led a session of its own, so whatever is left of that group was started by it.
            _signal_group(identity.pid)
        self._record.unlink(missing_ok=True)

    def says(self, pattern: str) -> bool:
        """Whether the log of the latest start has a line where this regular expression is found."""
        return self.log.exists() and re.search(pattern, self.log.read_text(errors="replace"), re.MULTILINE) is not None

    def last_lines(self) -> str:
        """The end of its log, for a person to read."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])

    def _spawn(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        cwd: Path | None,
        account: Account | None,
    ) -> None:
        private_directory(self.log.parent)
        if self.log.exists():
            # Why it ended the last time may be wanted still.
            self.log.replace(self.log.with_suffix(".log.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=None if environment is None else dict(environment),
                cwd=cwd,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as error:
            raise Unavailable(
                "start", self.name, error.strerror or type(error).__name__, f"Command: {command[0]}"
            ) from None
        finally:
            os.close(descriptor)
        _children[child.pid] = child
        write_private(self._record, json.dumps(asdict(Identity(child.pid, _began(child.pid) or ""))))

    def _identity(self) -> Identity | None:
        try:
            identity = Identity(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None
        return identity if _alive(identity) else None

    def _gone_within(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _failed(self, problem: str) -> Unavailable:
        lines = self.last_lines()
        return Unavailable(
            "start", self.name, f"{problem}; its log ends:\n{lines}\n" if lines else problem, f"See {self.log}"
        )


def _alive(identity: Identity) -> bool:
    child = _children.get(identity.pid)
    if child is None:
        return _began(identity.pid) == identity.began
    if child.poll() is None:
        return True
    del _children[identity.pid]
    return False


def _began(pid: int) -> str | None:
    """When the process with this pid began, in the system's own words; None when there is none that runs."""
    if Path("/proc/self/stat").exists():
        return _began_in_proc(pid)
    process = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, began = process.stdout.strip().partition(" ")
    return began.strip() if began and not state.startswith("Z") else None


def _began_in_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in brackets may hold spaces and brackets itself; fields 3 (state) and 22 (start) follow the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
