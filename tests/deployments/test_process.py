"""Supervision finds its processes again from another interpreter, and touches no others."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.core.errors import Unavailable
from local.support.process import Process

SLEEPER = [sys.executable, "-u", "-c", "print('ready'); import time; time.sleep(60)"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"
PARENT = f"import subprocess, time; c = subprocess.Popen({SLEEPER!r}); print('ready', c.pid); time.sleep(60)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process("sleeper", tmp_path / "run")
    yield made
    made.stop(signal.SIGKILL)


def start(process: Process, command: list[str] = SLEEPER) -> None:
    process.start(command, ready=lambda: process.says(r"^ready\b"), timeout=20)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_is_known_again_by_its_directory_and_name(process: Process, tmp_path: Path) -> None:
    start(process)
    again = Process("sleeper", tmp_path / "run")
    assert again.pid == process.pid is not None
    again.stop()
    assert process.pid is None


def test_starting_what_runs_changes_nothing(process: Process) -> None:
    start(process)
    before = process.pid
    start(process)
    assert process.pid == before


def test_it_outlives_the_interpreter_that_started_it(process: Process, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from local.support.process import Process\n"
        f"p = Process('sleeper', Path({str(tmp_path / 'run')!r})); p.start({SLEEPER!r}, ready=lambda: p.says('ready'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert process.pid is not None
    assert os.getsid(process.pid) == process.pid
    process.stop()
    assert process.pid is None


def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(process: Process, tmp_path: Path) -> None:
    start(process)
    record = tmp_path / "run" / "sleeper.pid"
    other = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL)
    try:
        kept = json.loads(record.read_text())
        process.stop()
        record.write_text(json.dumps({**kept, "pid": other.pid}))
        assert process.pid is None
        process.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_one_that_ignores_the_polite_signal_is_killed(process: Process) -> None:
    start(process, [sys.executable, "-u", "-c", STUBBORN])
    process.stop(timeout=0.2)
    assert process.pid is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_what_it_started_itself_ends_with_it(process: Process) -> None:
    start(process, [sys.executable, "-u", "-c", PARENT])
    child = int(process.log.read_text().split()[1])
    process.stop()
    deadline = time.monotonic() + 5
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(child)


def test_stopping_what_does_not_run_is_quiet(process: Process) -> None:
    process.stop()


def test_one_that_dies_while_starting_is_told_with_the_end_of_its_log(process: Process) -> None:
    with pytest.raises(Unavailable, match=r"start sleeper: it ended while starting; its log ends:\nno disk") as raised:
        start(process, [sys.executable, "-c", "import sys; sys.exit('no disk')"])
    assert str(process.log) in raised.value.hint


def test_one_that_is_never_ready_is_stopped_and_told(process: Process) -> None:
    with pytest.raises(Unavailable, match="not ready within 0 s"):
        process.start(SLEEPER, ready=lambda: False, timeout=0.3)
    assert process.pid is None


def test_a_program_that_is_not_there_is_told(process: Process) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        process.start(["/nowhere/program"], ready=lambda: True)


def test_the_log_is_private_and_the_one_before_is_kept(process: Process, tmp_path: Path) -> None:
    start(process)
    process.stop()
    start(process)
    for name in ("sleeper.log", "sleeper.log.1", "sleeper.pid"):
        assert stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) == 0o600
