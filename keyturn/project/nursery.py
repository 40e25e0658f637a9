"""``python -m keyturn.project.nursery``: imports everything that runs need, and forks a process for each run.

Its standard input is a socket of its worker. For each run it receives one end of another socket, forks, and answers
with the pid. Only the forked process reads the run and its settings from that end. The nursery has one thread, so that
its forks are consistent. It ends once that or its code changes, and the worker starts another one.
"""

import gc
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from keyturn.project import enter
from keyturn.project.process import end_with, guard_process

READY: Final = b"+"

NUMBER: Final = struct.Struct("!i")

THREADS: Final = Path("/proc/self/task")

Stamp = tuple[int, int, int]
"""The modification time in ns, the size and the inode of a file."""


def main() -> None:
    """Import, and fork until the worker ends. In the process of a run, carry it out."""
    guard_process()
    began = time.time_ns()
    load()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as worker:
        own = fork_runs(worker, stamps(loaded_files(), began))
    if own is not None:
        end_with(lambda: enter_run(own))


def load() -> None:
    enter()
    gc.disable()
    import_module("keyturn.project.runs.preload").preload()
    gc.enable()
    gc.collect()
    gc.freeze()


def fork_runs(worker: socket.socket, files: Mapping[str, Stamp | None]) -> socket.socket | None:
    """Fork one process for each socket from the worker, and return the socket in that process.

    Returns None in the nursery, after the last socket or once it is unfit.
    """
    worker.sendall(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(worker, len(READY), 1)
        if not descriptors:
            return None
        with socket.socket(fileno=descriptors[0]) as own:
            if reason := why_unfit(files):
                sys.stderr.write(f"the process that forks runs is restarted: {reason}\n")
                return None
            number = fork_away()
            if number == 0:
                return own.dup()
        worker.sendall(NUMBER.pack(number))


def why_unfit(files: Mapping[str, Stamp | None]) -> str | None:
    if sum(1 for _ in THREADS.iterdir()) > 1:
        return "it has more than one thread"
    if changed := next((file for file, stamp in files.items() if stamp is None or stamp_of(file) != stamp), None):
        return f"{changed} has changed"
    return None


def fork_away() -> int:
    """Fork an orphan, which the worker adopts; its pid, or 0 in the orphan.

    Raises OSError if no process can be forked.
    """
    reading, writing = os.pipe()
    if not (between := os.fork()):
        os.close(reading)
        fork_orphan(writing)
        return 0
    os.close(writing)
    with open(reading, "rb") as pipe:
        number = pipe.read()
    os.waitpid(between, 0)
    if not number:
        raise BlockingIOError("no process could be forked")
    return int(number)


def fork_orphan(writing: int) -> None:
    """Return in another process only; write its pid to this pipe."""
    try:
        if number := os.fork():
            os.write(writing, str(number).encode())
    except OSError:
        os._exit(1)
    if number:
        os._exit(0)
    os.setsid()
    os.close(writing)


def begin() -> None:
    import_module("keyturn.project.runs.begin").main()


def enter_run(own: socket.socket, act: Callable[[], None] = begin) -> None:
    """Become a run's process, with only the environment and directory from its socket."""
    # It was the nursery's socket.
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    with own, own.makefile("rb") as file:
        text = file.read()
    if not text:
        return  # The worker has stopped waiting.
    run = json.loads(text)
    os.environ.clear()
    os.environ.update(run["environment"])
    os.chdir(run["directory"])
    enter()
    act()


def loaded_files() -> set[str]:
    modules = list(sys.modules.values())
    return {file for module in modules if (file := getattr(module, "__file__", None)) and Path(file).is_file()}


def stamps(files: Iterable[str], began: int) -> dict[str, Stamp | None]:
    """The state of the files; None for a file changed after ``began``, in Unix ns."""
    return {file: stamp_of(file, put_before=began) for file in files}


def stamp_of(file: str, put_before: int | None = None) -> Stamp | None:
    """The state of a file; None if it is missing or was changed after ``put_before``."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    if put_before is not None and status.st_ctime_ns > put_before:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


if __name__ == "__main__":
    main()
