"""A machine of its own in namespaces: systemd is its first process, and this machine's disk is below a layer in memory.

It has no network but loopback. It is gone, with all that it has mounted and started, when its first process ends.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from local.debian import cache
from tests.platform.kept import SLOW, Kept, given, output

ROOT: Final = Path(__file__).parents[2]
BOOT: Final = Path(__file__).with_name("boot.sh")
BUILT: Final = ROOT / "dist" / "platform"
"""What is made once and kept."""
GUIDE: Final = ROOT / "docs" / "operations.md"
SYSTEMD: Final = "/lib/systemd/systemd"
TARGET: Final = "platform.target"
HIDDEN: Final = ("/tmp", "/run")
"""Where such a machine has directories of its own."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The machine's own programs alone: services may not enter a home directory, where people have another Python."""


class Guest(Kept):
    """One such machine, below ``directory``, with Keyturn's programs from a directory that `programs` has made."""

    def __init__(self, directory: Path, programs: Path) -> None:
        super().__init__("guest", directory)
        self.programs = programs

    def __enter__(self) -> Self:
        (mounts := self.directory / "mounts").mkdir()
        boot = ["bash", str(BOOT), str(mounts), str(self.programs), SYSTEMD, "--system", f"--unit={TARGET}"]
        namespaces = ("mount", "cgroup", "uts", "ipc", "net")
        self.start(namespaces, boot, self._booted, shared=" ".join(map(str, shared())))
        return self

    def _booted(self) -> bool:
        return self.command("systemctl", "is-active", "sysinit.target").stdout == "active\n"

    def command(
        self, *words: str, environment: Mapping[str, str] | None = None, text: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in it as root, in the checkout."""
        variables = {"PATH": PATH, "HOME": "/root", **(environment or {})}
        namespaces = ("mount", "uts", "ipc", "net", "pid", "root")
        return self.enter(namespaces, [f"--chdir={ROOT}", *given(variables), *words], text)

    def run(self, *words: str, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
        """The same; what it prints. Fails with what it said unless it ends with 0."""
        return output(self.command(*words, environment=environment, text=text))

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
