"""A machine of its own in namespaces: systemd is its first process, and this machine's disk is below a layer in memory.

It has no network but loopback. It is gone, with all that it has mounted and started, when its first process ends.
"""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from local.debian import cache
from local.support.process import Process

ROOT: Final = Path(__file__).parents[2]
BOOT: Final = Path(__file__).with_name("boot.sh")
KEEP: Final = Path(__file__).with_name("keep.sh")
BUILT: Final = ROOT / "dist" / "platform"
"""What is made once and kept."""
GUIDE: Final = ROOT / "docs" / "operations.md"
SYSTEMD: Final = "/lib/systemd/systemd"
TARGET: Final = "platform.target"
CGROUP: Final = "keyturn-platform-"
HIDDEN: Final = ("/tmp", "/run")
"""Where such a machine has directories of its own."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The machine's own programs alone: services may not enter a home directory, where people have another Python."""
SLOW: Final = 300
"""Seconds that anything here may take on a busy machine."""


class Guest:
    """One such machine, below ``directory``, with Keyturn's programs from a directory that `programs` has made."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.programs = programs
        self.process = Process("guest", directory)
        self.cgroup = cgroups() / f"{CGROUP}{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        remove_cgroups()
        (mounts := self.directory / "mounts").mkdir()
        boot = ["bash", str(BOOT), str(mounts), str(self.programs), SYSTEMD, "--system", f"--unit={TARGET}"]
        command = ["setpriv", "--pdeathsig=TERM", "bash", str(KEEP), str(self.cgroup), *boot]
        environment = {**os.environ, "SHARED": " ".join(map(str, shared()))}
        try:
            self.process.start(command, ready=self._booted, environment=environment, cwd=self.directory, timeout=SLOW)
        except BaseException:
            self.process.stop(timeout=SLOW)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop(timeout=SLOW)
        assert not self.cgroup.exists()

    @property
    def first_process(self) -> int:
        """The pid that its systemd has here."""
        unshare = children(self.process.pid)[0]
        return children(unshare)[0]

    def _booted(self) -> bool:
        with suppress(OSError, IndexError):
            return self.command("systemctl", "is-active", "sysinit.target").stdout == "active\n"
        return False

    def command(
        self, *words: str, environment: Mapping[str, str] | None = None, text: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in it as root, in the checkout."""
        enter = ["nsenter", f"--target={self.first_process}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        variables = {"PATH": PATH, "HOME": "/root"}
        given = [f"{name}={value}" for name, value in {**variables, **(environment or {})}.items()]
        command = [*enter, "env", "--ignore-environment", f"--chdir={ROOT}", *given, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, input=text, timeout=SLOW)

    def run(self, *words: str, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
        """The same; what it prints. Fails with what it said unless it ends with 0."""
        done = self.command(*words, environment=environment, text=text)
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def write(self, file: str, text: str, mode: int = 0o600) -> None:
        """Write a file there."""
        script = 'umask 077; mkdir -p "${1%/*}"; cat > "$1"; chmod "$2" "$1"'
        self.run("sh", "-c", script, "sh", file, f"{mode:o}", text=text)

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def log(self, unit: str, lines: int = 60) -> str:
        """The last lines that a unit wrote."""
        return self.run("journalctl", "--no-pager", f"--lines={lines}", "--output=cat", f"--unit={unit}")

    def wait(self, unit: str, state: str = "active", seconds: float = SLOW) -> None:
        """Until systemd says that the unit is in this state."""
        deadline = time.monotonic() + seconds
        while (seen := self.property(unit, "ActiveState")) != state:
            assert time.monotonic() < deadline, f"{unit} is {seen}, not {state}\n{self.log(unit)}"
            time.sleep(0.5)


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
    """Remove the cgroups of machines that are gone; those that run keep theirs."""
    for group in cgroups().glob(f"{CGROUP}*"):
        for place in sorted((place for place in group.rglob("*") if place.is_dir()), reverse=True):
            with suppress(OSError):
                place.rmdir()
        with suppress(OSError):
            group.rmdir()


def shared() -> Iterator[Path]:
    """What such a machine needs that the root directory's file system does not show there."""
    for place in (ROOT, Path(sys.prefix), Path(sys.base_prefix), cache()):
        hidden = any(place.is_relative_to(directory) for directory in HIDDEN)
        if place.exists() and (hidden or place.stat().st_dev != Path("/").stat().st_dev):
            yield place


def guide() -> list[str]:
    """Each command of the guide's installation, with what the guide shows below a ``cat``."""
    for block in re.findall(r"```console\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        if "/etc/systemd/system" in block and "systemd-sysusers" in block:
            return re.split(r"(?m)^# ", block)[1:]
    raise AssertionError(f"{GUIDE} does not say how the units are installed")


def programs() -> Path:
    """What the guide has in ``/opt/keyturn`` before the wheel: made once for each lock, as the guide says."""
    steps = [step.strip() for command in guide() for step in command.split(" && ")]
    made = [step for step in steps if " -m venv " in step or "--require-hashes" in step]
    version = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=True).stdout
    lock = (ROOT / "requirements-image.lock").read_text()
    name = hashlib.sha256("\n".join([version, lock, *made]).encode()).hexdigest()[:16]
    place = BUILT / f"programs-{name}"
    if not (place / "whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (scratch := BUILT / "scratch").mkdir(exist_ok=True)
        unshare = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        script = f"cd {ROOT} && {' && '.join(made)}"
        environment = {**os.environ, "PATH": PATH, "BUILDING": "yes", "SHARED": " ".join(map(str, shared()))}
        boot = ["bash", str(BOOT), str(scratch), str(place), "sh", "-c", script]
        subprocess.run([*unshare, *boot], check=True, env=environment, stdin=subprocess.DEVNULL)
        scratch.rmdir()
        (place / "whole").touch()
    return place
