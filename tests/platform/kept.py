"""A process in namespaces. It is gone, with all that it has started and mounted, when it or its maker ends."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from local.support.process import Process

KEEP: Final = Path(__file__).with_name("keep.sh")
CGROUP: Final = "keyturn-platform-"
SLOW: Final = 300
"""Seconds that anything here may take on a busy machine."""


class Kept:
    """The first process of a PID namespace, and what enters it. ``directory`` has its log."""

    def __init__(self, name: str, directory: Path) -> None:
        self.directory = directory
        self.process = Process(name, directory)
        self.cgroup = cgroups() / f"{CGROUP}{secrets.token_hex(4)}"

    def __exit__(self, *_: object) -> None:
        self.process.stop(timeout=SLOW)
        assert not self.cgroup.exists()

    def start(
        self, namespaces: Sequence[str], command: Sequence[str], ready: Callable[[], bool], shared: str = ""
    ) -> None:
        """Start the command in these namespaces and that of processes, and wait until it is ready."""
        remove_cgroups()
        options = ["--fork", "--pid", "--kill-child", *(f"--{namespace}" for namespace in namespaces)]
        words = ["setpriv", "--pdeathsig=TERM", "bash", str(KEEP), str(self.cgroup), *options, *command]
        environment = {**os.environ, "SHARED": shared}

        def entered() -> bool:
            with suppress(OSError, IndexError):
                return bool(children(children(self.process.pid)[0])) and ready()
            return False

        try:
            self.process.start(words, ready=entered, environment=environment, cwd=self.directory, timeout=SLOW)
        except BaseException:
            self.process.stop(timeout=SLOW)
            raise

    @property
    def first_process(self) -> int:
        """The pid that its first process has here."""
        unshare = children(self.process.pid)[0]
        return children(unshare)[0]

    def enter(
        self, namespaces: Sequence[str], words: Sequence[str], text: str | None = None, timeout: float = SLOW
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in these namespaces of it, with no variable of this process."""
        enter = ["nsenter", f"--target={self.first_process}", *(f"--{namespace}" for namespace in namespaces)]
        command = [*enter, "env", "--ignore-environment", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, input=text, timeout=timeout)


def output(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command printed. Fails with what it said unless it ended with 0."""
    assert done.returncode == 0, f"{done.args}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def document(done: "subprocess.CompletedProcess[str]") -> Any:
    """The JSON that a command printed, with whatever code it ended. Fails with what it said if it printed none."""
    assert done.stdout, f"{done.args} ended with {done.returncode} and printed nothing: {done.stderr[-3000:]}"
    return json.loads(done.stdout)


def given(environment: Mapping[str, str]) -> list[str]:
    """Variables as ``env`` takes them."""
    return [f"{name}={value}" for name, value in environment.items()]


def children(pid: int | None) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cgroups() -> Path:
    """Where the machine's version 2 of cgroups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("no cgroup2 is mounted here")


def remove_cgroups() -> None:
    """Remove the cgroups of what is gone; those of what runs stay."""
    groups = [group for pattern in (f"{CGROUP}*", f"*/{CGROUP}*") for group in Path("/sys/fs/cgroup").glob(pattern)]
    for group in groups:
        for place in sorted((place for place in (group, *group.rglob("*")) if place.is_dir()), reverse=True):
            with suppress(OSError):
                place.rmdir()
