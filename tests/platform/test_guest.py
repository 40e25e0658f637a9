"""A machine in namespaces leaves nothing behind, even when what has made it is killed."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.platform import needs
from tests.platform.guest import ROOT
from tests.support.hooks import eventually

PROGRAM = """
import sys, time
from pathlib import Path
from tests.platform.guest import Guest
place = Path(sys.argv[1])
with Guest(place / "guest", place / "programs") as guest:
    print(guest.cgroup, guest.first_process, sep="\\n", flush=True)
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    needs.require(quick=True)


def traces(place: Path) -> list[str]:
    """The processes and mounts here that name a file below ``place``."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_text(errors="replace").replace("\0", " "))
    return [line for line in lines if str(place) in line]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_machine_is_gone_when_its_maker_is_ended(tmp_path: Path, end: signal.Signals) -> None:
    (directory := tmp_path / "guest").mkdir()
    (tmp_path / "programs").mkdir()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as maker:
        assert maker.stdout is not None
        cgroup, first_process = Path(maker.stdout.readline().strip()), int(maker.stdout.readline())
        systemd = Path(f"/proc/{first_process}")
        assert (systemd / "comm").read_text() == "systemd\n"
        assert list(cgroup.glob("system.slice"))
        maker.send_signal(end)
        assert maker.wait(60) != 0
    assert eventually(lambda: not (cgroup.exists() or systemd.exists()))
    assert traces(directory) == []
    assert {file.name for file in directory.rglob("*")} <= {"guest.log", "guest.pid", "mounts"}
