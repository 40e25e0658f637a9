"""Programs of this machine that handle a signal, or don't, for those who signal them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HANDLES: Final = """
import signal, sys
counted = []
def count(*_):
    counted.append(1)
    sys.stdout.write("signalled\\n"); sys.stdout.flush()
if sys.argv[1] != "nothing":
    signal.signal(getattr(signal, sys.argv[1]), count)
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.read()
"""


def command_line(pid: int | None) -> bytes:
    """What this machine shows everyone of a process; empty where it has ended."""
    if not Path("/proc/self/cmdline").exists():
        return subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True).stdout
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def seeming_root() -> list[str]:
    """The beginning of a command that needs an empty /run and the name root, but no right of root. Empty for root."""
    if os.geteuid() == 0:
        return []
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh"]


class Program:
    """A running one, and the file that it has written its number to."""

    def __init__(self, process: "subprocess.Popen[str]", pid_file: Path) -> None:
        self.process = process
        self.pid_file = pid_file
        pid_file.write_text(f"{process.pid}\n")

    def heard(self) -> str:
        """The next line that it says."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def runs(self) -> bool:
        return self.process.poll() is None


@contextmanager
def program(directory: Path, handles: str = "SIGHUP") -> Iterator[Program]:
    """One that handles this signal; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HANDLES, handles],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Program(process, directory / "program.pid")
        assert process.stdin
        process.stdin.close()
