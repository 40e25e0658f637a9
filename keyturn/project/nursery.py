"""``python -m keyturn.project.nursery``: has imported all that a run needs, and forks a process for each run.

Its standard input is a socket of the worker that started it. For each run it is handed one end of another socket, and
answers with the number of the process that it has forked. What is run there, and with which settings, that process
alone reads from its end: the nursery knows nothing of any run. It has one thread and no connection besides, so that
what it forks is whole. Where that, or the code that it has imported, is no longer so, it ends, and the worker starts
another one.
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
"""What it says once it has imported everything."""

NUMBER: Final = struct.Struct("!i")
"""How it says the number of a process."""

THREADS: Final = Path("/proc/self/task")

Stamp = tuple[int, int, int]
"""When a file was changed (ns), how large it is, and which file it is."""


def main() -> None:
    """Import, and fork until the worker is gone. In the process of a run: carry it out."""
    guard_process()
    began = time.time_ns()
    load()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as worker:
        own = fork_runs(worker, stamps(loaded_files(), began))
    if own is not None:
        end_with(lambda: enter_run(own))


def load() -> None:
    """Import all that runs use, and let it be the same memory in all of them."""
    enter()
    gc.disable()
    import_module("keyturn.project.runs.preload").preload()
    gc.enable()
    gc.collect()
    gc.freeze()


def fork_runs(worker: socket.socket, files: Mapping[str, Stamp | None]) -> socket.socket | None:
    """Fork one process for each socket that the worker sends; in that process return its socket.

    Returns None in the nursery itself once the worker has no more, or this process is not fit to be forked any longer.
    """
    worker.sendall(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(worker, len(READY), 1)
        if not descriptors:
            return None
        with socket.socket(fileno=descriptors[0]) as own:
            if reason := why_unfit(files):
                sys.stderr.write(f"the process that forks runs is started anew: {reason}\n")
                return None
            number = fork_away()
            if number == 0:
                return own.dup()
        worker.sendall(NUMBER.pack(number))


def why_unfit(files: Mapping[str, Stamp | None]) -> str | None:
    """Why no run may be forked from this process any longer, if that is so."""
    if sum(1 for _ in THREADS.iterdir()) > 1:
        return "it has more than one thread"
    if changed := next((file for file, stamp in files.items() if stamp is None or stamp_of(file) != stamp), None):
        return f"{changed} has changed"
    return None


def fork_away() -> int:
    """Fork a process that is no child of this one, but of the worker, which takes orphans: its number; 0 in it.

    It leads a session of its own once this returns. Raises OSError where there is no place for another process.
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
    """Return in another process, which the caller leaves alone; its number is written to this pipe."""
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
    """The run that the environment names."""
    import_module("keyturn.project.runs.begin").main()


def enter_run(own: socket.socket, act: Callable[[], None] = begin) -> None:
    """Be the process of one run, with the environment and the directory that its socket tells, and nothing else's."""
    # Until then it is the nursery's socket.
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    with own, own.makefile("rb") as file:
        text = file.read()
    if not text:
        return  # The worker has not waited for it.
    run = json.loads(text)
    os.environ.clear()
    os.environ.update(run["environment"])
    os.chdir(run["directory"])
    enter()
    act()


def loaded_files() -> set[str]:
    """The files of all modules that this process has imported."""
    modules = list(sys.modules.values())
    return {file for module in modules if (file := getattr(module, "__file__", None)) and Path(file).is_file()}


def stamps(files: Iterable[str], began: int) -> dict[str, Stamp | None]:
    """How the files were when they were imported; None for one that was put there after ``began``, in Unix ns."""
    return {file: stamp_of(file, put_before=began) for file in files}


def stamp_of(file: str, put_before: int | None = None) -> Stamp | None:
    """How a file is now; None where it is gone, or was put there later."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    if put_before is not None and status.st_ctime_ns > put_before:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


if __name__ == "__main__":
    main()
