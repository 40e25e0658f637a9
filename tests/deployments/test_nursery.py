"""Runs forked from a prepared process are as isolated as newly started ones."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keyturn.project.worker.forking import OF_A_RUN, WITHIN, Forked, Nursery, can_watch_forked
from tests.cli.command import ROOT
from tests.support.hooks import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere runs are started one by one")

PROGRAM = Path(__file__).with_name("nursery_program.py")
READS = """
import os, sys
read = set()
class Environment(type(os.environ)):
    def __getitem__(self, name):
        read.add(str(name))
        return super().__getitem__(name)
os.environ.__class__ = Environment
from keyturn.project import nursery
nursery.load()
print(len(os.listdir("/proc/self/task")), *sorted(name for name in read if name.startswith({prefixes!r})))
"""


class Runs:
    """Runs of the program beside this file, forked in this process as a worker does."""

    def __init__(self, directory: Path, nursery: Nursery) -> None:
        self.directory = directory
        self.nursery = nursery
        self.base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    async def start(self, name: str, does: str = "end", **settings: str) -> Forked:
        """One that has begun."""
        directory = self.directory / f"{name}-directory"
        directory.mkdir()
        environment = {**self.base, "KEYTURN_NAME": name, **settings}
        # As settings of Keyturn's they are nothing that a new nursery is started for.
        environment |= {"KEYTURN_FILE": str(self.file(name)), "KEYTURN_DOES": does}
        forked = await self.nursery.fork(environment, str(directory))
        assert forked is not None, "it would have been started without"
        return forked

    async def end(self, name: str, does: str = "end", **settings: str) -> int | None:
        """How one has ended."""
        forked = await self.start(name, does, **settings)
        await forked.wait()
        return forked.returncode

    def file(self, name: str) -> Path:
        return self.directory / name

    async def left(self, name: str) -> dict[str, Any]:
        """What the run has said of itself."""
        assert await asyncio.to_thread(eventually, self.file(name).exists)
        return dict(json.loads(self.file(name).read_text()))

    def let_go(self, name: str) -> None:
        self.file(name).with_suffix(".go").touch()


@asynccontextmanager
async def running(directory: Path, **variables: str) -> AsyncIterator[Runs]:
    assert can_watch_forked()
    nursery = Nursery((sys.executable, "-P", str(PROGRAM)), patience=60)
    runs = Runs(directory, nursery)
    runs.base |= variables
    keeping = asyncio.create_task(nursery.keep(runs.base))
    try:
        yield runs
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


def pid_of(runs: Runs) -> int:
    """The process that runs are forked from now."""
    assert runs.nursery._standing
    return runs.nursery._standing.process.pid


def children() -> set[int]:
    """The processes whose parent is this one, zombies included."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.attack
def test_a_run_has_its_own_settings_directory_and_session_and_nothing_of_its_worker_or_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_OF_THE_WORKER", "kept")

    async def two() -> None:
        async with running(tmp_path) as runs:
            assert await runs.end("first", KEYTURN_HUB_TOKEN_FILE="its-own") == 0
            assert await runs.end("second") == 0
            first, second = await runs.left("first"), await runs.left("second")
            assert first["environment"]["KEYTURN_HUB_TOKEN_FILE"] == "its-own"
            assert {name for name in second["environment"] if name.startswith("KEYTURN_")} == {
                "KEYTURN_NAME",
                "KEYTURN_FILE",
                "KEYTURN_DOES",
            }
            assert second["directory"] == str(tmp_path / "second-directory")
            assert [first["leads"], second["leads"]] == [True, True]
            assert [first["parent"], second["parent"]] == [os.getpid()] * 2

    asyncio.run(two())


def test_one_that_dies_takes_no_other_along_and_how_it_ended_is_known(tmp_path: Path) -> None:
    async def neighbours() -> None:
        async with running(tmp_path) as runs:
            neighbour = await runs.start("neighbour", "wait")
            assert await runs.end("killed", "die") == -signal.SIGKILL
            assert await runs.end("left", "exit") == 7
            assert await runs.end("failed", "raise") == 1
            assert neighbour.returncode is None
            runs.let_go("neighbour")
            await neighbour.wait()
            assert neighbour.returncode == 0

    asyncio.run(neighbours())


def test_what_runs_are_forked_from_may_be_killed_another_takes_its_place_and_runs_go_on(tmp_path: Path) -> None:
    async def killed() -> None:
        async with running(tmp_path) as runs:
            survivor = await runs.start("survivor", "wait")
            before = pid_of(runs)
            os.kill(before, signal.SIGKILL)
            assert await runs.end("next") == 0
            assert pid_of(runs) != before
            os.kill(pid_of(runs), signal.SIGSTOP)
            runs.let_go("survivor")
            await survivor.wait()
            assert survivor.returncode == 0
            os.kill(pid_of(runs), signal.SIGCONT)

    asyncio.run(killed())


@pytest.mark.attack
def test_changed_code_or_import_time_variables_restart_it(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("old")

    async def changed() -> None:
        async with running(tmp_path, CODE=str(code)) as runs:
            assert await runs.end("first") == 0
            first = pid_of(runs)
            assert await runs.end("same", KEYTURN_CATALOGUE="another") == 0
            assert pid_of(runs) == first
            assert await runs.end("settings", AWS_REGION="elsewhere") == 0
            second = pid_of(runs)
            assert second != first
            code.write_text("newer")
            assert await runs.end("code", AWS_REGION="elsewhere") == 0
            assert pid_of(runs) != second

    asyncio.run(changed())


def test_without_it_a_run_is_started_from_nothing(tmp_path: Path) -> None:
    async def broken() -> None:
        nursery = Nursery((sys.executable, "-c", "raise SystemExit(1)"))
        keeping = asyncio.create_task(nursery.keep({}))
        assert await nursery.fork({}, str(tmp_path)) is None
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(broken())


@pytest.mark.attack
def test_a_process_to_fork_from_starts_no_other_whatever_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, os.environ[{WITHIN!r}]).touch()\n")

    async def started() -> None:
        nursery = Nursery((sys.executable, "-P", str(program)))
        keeping = asyncio.create_task(nursery.keep({}))
        assert await nursery.fork({}, str(tmp_path)) is None
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(started())
    (tmp_path / "true").unlink()
    monkeypatch.setenv(WITHIN, "true")
    asyncio.run(started())
    assert list(tmp_path.iterdir()) == [program]


def test_a_worker_that_stops_ends_its_runs(tmp_path: Path) -> None:
    async def stopped() -> None:
        async with running(tmp_path) as runs:
            forked = await runs.start("hangs", "wait")
            await runs.left("hangs")
            waiting = asyncio.create_task(forked.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert forked.returncode == -signal.SIGTERM

    asyncio.run(stopped())


def test_fifty_runs_leave_neither_descriptors_nor_processes(tmp_path: Path) -> None:
    async def many() -> None:
        async with running(tmp_path) as runs:
            await runs.end("first")
            # What other tests have left open would be closed in between.
            gc.collect()
            open_before, children_before = len(os.listdir("/proc/self/fd")), children()
            nursery = f"/proc/{pid_of(runs)}/fd"
            held_before = len(os.listdir(nursery))
            await asyncio.gather(*(runs.end(f"run-{number}") for number in range(50)))
            assert len(os.listdir("/proc/self/fd")) <= open_before
            assert children() == children_before
            assert len(os.listdir(nursery)) == held_before
            of_runs = {(await runs.left(f"run-{number}"))["descriptors"] for number in range(50)}
            # Its three, and the directory that it counts them in.
            assert of_runs == {4}

    asyncio.run(many())


def test_it_ends_with_its_worker(tmp_path: Path) -> None:
    async def gone() -> None:
        async with running(tmp_path) as runs:
            await runs.end("first")
            assert runs.nursery._standing
            process = runs.nursery._standing.process
            runs.nursery._standing._own.shutdown(2)
            await process.wait()
            assert process.returncode == 0

    asyncio.run(gone())


@pytest.mark.attack
def test_imports_start_no_thread_and_read_no_settings_of_a_run() -> None:
    # Who copies the whole environment reads what is in it; whoever asks for a variable by its name is meant here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_RUN)}
    prefixes = tuple(prefix for prefix in OF_A_RUN if prefix != "PREFECT__")
    command = [sys.executable, "-c", READS.format(prefixes=prefixes)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"
