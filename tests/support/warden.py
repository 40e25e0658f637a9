"""Whatever a test run has started ends with it, also when the run is killed or interrupted.

A run marks its environment, which every process that it starts inherits. A second process, the warden, waits for the
end of the run, then kills every process and unmounts every file system that has the mark. It needs Linux's ``/proc``.
"""

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

MARK: Final = "PYTEST_KEYTURN_RUN"
"""The variable; a run within a run writes its own name behind the outer one's."""

ROUNDS, QUIET = 100, 3
"""How often the warden looks at most, and in how many looks it finds nothing before it goes."""

PAUSE: Final = 0.05
"""Seconds."""


def watch() -> None:
    """Mark this process's environment and have a warden wait for its end."""
    outer = os.environ.get(MARK)
    os.environ[MARK] = "/".join(filter(None, (outer, secrets.token_hex(8))))
    if Path("/proc/self/environ").exists():
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), os.environ[MARK]]
        silent: list[Any] = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
        # It outlives this process, so nobody here waits for it.
        os.posix_spawn(sys.executable, command, os.environ, file_actions=silent, setsid=True)


def end_tidily_when_terminated(workers: list[int]) -> None:
    """Take SIGTERM as Ctrl-C, once, and let the ``workers``, which are pids, know: so fixtures end what is theirs."""

    def interrupt(number: int, frame: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


# --- in the warden


def main(pid: int, mark: str) -> None:
    """Wait until the process has ended, then kill the processes and unmount the file systems that it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wait_for(pid)
    end_processes(mark)
    unmount(mark)


def end_processes(mark: str) -> None:
    """Kill what was started under this mark, until nothing is left."""
    quiet = 0
    for _ in range(ROUNDS):
        left = [*marked(mark)]
        for one in left:
            kill(one)
        quiet = 0 if left else quiet + 1
        if quiet == QUIET:
            return
        time.sleep(PAUSE)


def wait_for(pid: int) -> None:
    """Return when this process's parent, which has the pid, has ended."""
    with suppress(ProcessLookupError):
        ending = os.pidfd_open(pid)
        if os.getppid() == pid:
            select.select([ending], [], [])


def marked(mark: str) -> Iterator[int]:
    """The pids of the processes that were started under this mark, or by a run within that run."""
    wanted = f"{MARK}={mark}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):
                entries = (process / "environ").read_bytes().split(b"\0")
                if any(one == wanted or one.startswith(wanted + b"/") for one in entries):
                    yield int(process.name)


def unmount(mark: str) -> None:
    """Unmount what a run under this mark has mounted: a mount that is left keeps later runs from removing its files."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, directory, *_ = line.split(" ")
        if source == mark or source.startswith(f"{mark}/"):
            subprocess.run(["umount", "--lazy", directory.encode().decode("unicode_escape")], check=False)


def kill(pid: int) -> None:
    """End a process; where it leads a group, all of that, since a server's children may hide their environment."""
    with suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
