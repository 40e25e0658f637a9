"""Other processes of the same user can't read Keyturn's memory, and it leaves no core dump."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from local.support.ports import LOOPBACK
from tests.cli.command import ROOT, SCRIPT, one_generated_secret

pytestmark = pytest.mark.sampled(2, of="file")

NOBODY = 65_534
AS_A_USER = (
    "import ctypes, os, sys, keyturn.project"
    f"; os.getuid() or (os.setresgid(*[{NOBODY}] * 3), os.setresuid(*[{NOBODY}] * 3))"
    "; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)"
)
"""Whoever is root may read everything, so the process and who spies on it are somebody else, as programs begin."""

GUARDED = "from keyturn.project.process import guard_process; guard_process()"
AS_A_RUN = "os.environ['PREFECT__FLOW_RUN_ID'] = 'x'; keyturn.project.enter()"
LOADED = "import asyncio, contextlib, keyturn.project; keyturn.project.enter(); import keyturn.project.worker.worker"
AS_A_WORKER = """
with contextlib.suppress(SystemExit):  # it has no hub
    asyncio.run(keyturn.project.worker.worker.KeyturnWorker('pool').setup())
"""
SPY = f"{AS_A_USER}; open(f'/proc/{{sys.argv[1]}}/environ', 'rb').read(); open(f'/proc/{{sys.argv[1]}}/mem', 'rb')"


@contextmanager
def waiting(program: str, loaded: str = "pass") -> Iterator[int]:
    """The pid of a process that has run this program, and waits; what is ``loaded`` first, it could not read then."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{loaded}\n{AS_A_USER}\n{program}\nprint('ready', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def spied(pid: int) -> "subprocess.CompletedProcess[str]":
    """What another process of that user comes to, which asks for the memory of this one."""
    spy = [sys.executable, "-c", SPY, str(pid)]
    return subprocess.run(spy, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


def core_size(pid: int) -> list[str]:
    """How large a core dump may become, now and at most."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


@pytest.mark.parametrize(
    ("program", "loaded"),
    [(GUARDED, "pass"), (AS_A_RUN, "pass"), (AS_A_WORKER, LOADED)],
    ids=["guarded", "flow run", "worker"],
)
def test_a_process_that_holds_values_is_read_by_no_other_and_leaves_no_core(program: str, loaded: str) -> None:
    with waiting(program, loaded) as pid:
        result = spied(pid)
        assert (result.returncode, "PermissionError" in result.stderr) == (1, True)
        assert core_size(pid) == ["0", "0"]
    with waiting("pass") as pid:
        assert spied(pid).stderr == ""


def test_a_command_is_protected_before_its_first_connection(tmp_path: Path) -> None:
    catalogue = one_generated_secret(tmp_path / "catalogue")
    with closing(socket.create_server((LOOPBACK, 0))) as hub:
        hub.settimeout(60)
        env = {**os.environ, "VAULT_ADDR": f"http://{LOOPBACK}:{hub.getsockname()[1]}", "VAULT_TOKEN": "none"}
        with subprocess.Popen(
            [*SCRIPT, "get", "a/b", "--catalogue", str(catalogue)], env=env, stderr=subprocess.PIPE
        ) as command:
            try:
                connection, _ = hub.accept()
                with connection:
                    assert core_size(command.pid) == ["0", "0"]
            finally:
                command.kill()


REPORTING = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")


@pytest.mark.parametrize(
    ("wanted", "printed"), [({}, "1 false\n"), ({"DO_NOT_TRACK": "0"}, "0 false\n")], ids=["by itself", "wanted"]
)
def test_prefects_telemetry_is_off_unless_enabled(wanted: dict[str, str], printed: str) -> None:
    program = f"import os; {GUARDED}; print(*[os.environ[name] for name in {REPORTING}])"
    env = {name: value for name, value in os.environ.items() if name not in REPORTING} | wanted
    run = subprocess.run([sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == printed
