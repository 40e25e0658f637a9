"""A test run that is interrupted or killed leaves nothing behind: no server, no worker, no child of one."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import shards
from tests.support.hooks import eventually
from tests.support.sampling import ROOT
from tests.support.warden import MARK, marked

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

SERVERS = {"bao", "postgres", "mariadbd", "redis-server", "sleep"}


@contextmanager
def running(directory: Path, wanted: str, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A run of :mod:`tests.support.waiting` that has started all that it starts, and the mark of what it starts."""
    mark = f"{os.environ[MARK]}/{secrets.token_hex(8)}"
    command = [sys.executable, "-m", "pytest", "tests/support/waiting.py", f"--basetemp={directory / 'base'}", *options]
    environment = {**os.environ, MARK: mark, "WAITING": str(directory)}
    environment.pop(shards.VARIABLE, None)
    with (directory / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        started = eventually(lambda: all((directory / name).exists() for name in wanted.split()) or process.poll(), 300)
        assert started, (directory / "said").read_text()
        assert process.poll() is None, (directory / "said").read_text()
        yield process, mark
    finally:
        for pid in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def programs(mark: str) -> set[str]:
    """The programs that run under the mark."""
    found = set()
    for pid in marked(mark):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found |= {Path(word).name for word in words if word}
    return found


def mounts(directory: Path) -> list[str]:
    """The mounts below a directory."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {directory}/" in line]


def assert_nothing_is_left(mark: str, process: "subprocess.Popen[bytes]") -> None:
    """Within some seconds."""
    process.wait(120)
    assert eventually(lambda: not programs(mark), 20), programs(mark)


def test_terminated_it_is_interrupted_and_leaves_no_server(tmp_path: Path) -> None:
    with running(tmp_path, "databases prefect", "--numprocesses=2", "--dist=load") as (process, mark):
        assert {*SERVERS, "prefect"} <= programs(mark)
        process.terminate()
        assert_nothing_is_left(mark, process)
    assert "KeyboardInterrupt" in (tmp_path / "said").read_text()


def test_killed_it_leaves_no_server_and_no_mount(tmp_path: Path) -> None:
    with running(tmp_path, "databases", "--numprocesses=2", "--dist=load", "-k", "databases") as (process, mark):
        assert programs(mark) >= SERVERS
        assert bool(mounts(tmp_path)) == (tmp_path / "mounted").exists()
        process.kill()
        assert_nothing_is_left(mark, process)
        assert eventually(lambda: not mounts(tmp_path), 20), mounts(tmp_path)
