"""CPU time and memory of processes and of all that they started, from proc(5)."""

import os
import signal
import sys
import time
from pathlib import Path

from local.support.process import Process

TICK = os.sysconf("SC_CLK_TCK")

CALM = 0.04
"""The share of a core below which processes count as idle."""


def cpu(*processes: Process) -> float:
    """Seconds of CPU that these and their descendants have used, including those that have ended."""
    children = by_parent()
    return sum(sum(ticks(pid)) / TICK for process in processes for pid in descendants(process.pid or 0, children))


def end_in_order() -> None:
    """Let a SIGTERM end this process as an error would, so that the servers it started end with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def memory(pid: int, field: str = "VmRSS") -> float:
    """The process's memory now, in MB; with VmHWM its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def at_rest(*processes: Process) -> None:
    """Return once these have been nearly idle for a second; waits for a minute at most."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = cpu(*processes)
        time.sleep(1)
        if cpu(*processes) - before < CALM:
            return


def ticks(pid: int) -> list[int]:
    """Used by the process and by its ended children; nothing for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(field) for field in fields[11:15]]


def by_parent() -> dict[int, list[int]]:
    """The living children of each process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    return children


def descendants(root: int, children: dict[int, list[int]]) -> list[int]:
    """The process and all below it."""
    return [root, *(each for child in children.get(root, []) for each in descendants(child, children))]
