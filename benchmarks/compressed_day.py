"""A day of schedules in 24 minutes on the topology of docs/production.md: only data that is kept may grow.

    python benchmarks/compressed_day.py [--minutes 24] [--secrets 20]

A minute stands for an hour: the keeper runs every 15 s instead of every 15 minutes, and each minute a share of the
secrets is due. Once a minute all that has ended at Prefect is made 59 minutes older in its database, so that
Prefect's own retention (two hours here, checked every 15 s) removes it. Everything is measured once a minute, and the
table has the maximum of each quarter of the time: the memory and the open files of each process, and the rows and the
size of Prefect's database. The exit status is 1 if a process has more than a tenth more memory, or more than ten
files more, in the last quarter than in the second, or the database a quarter more rows, or a process has ended. Needs
Linux.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import end_in_order, memory
from local.prepare import database
from local.support.ports import LOOPBACK
from tests.production.topology import Topology

AGE = (
    "UPDATE flow_run SET end_time = end_time - interval '59 minutes' WHERE end_time IS NOT NULL",
    "UPDATE events SET occurred = occurred - interval '59 minutes'",
    "UPDATE event_resources SET occurred = occurred - interval '59 minutes'",
)
KEPT = {
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "PT2H",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7200",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "15",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "60",
}
TABLES = ("flow_run", "task_run", "flow_run_state", "events", "event_resources", "log")
MORE_MEMORY, MORE_FILES, MORE_ROWS = 1.1, 10, 1.25
QUARTERS = 4
LOOKS_EVERY = 15


def prefect_sql(topology: Topology, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last of these, in Prefect's database."""
    server, rows = topology.prefect_database, list[tuple[object, ...]]()
    with database(LOOPBACK, server.port, server.superuser_password, "prefect") as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
    return rows


def sizes(topology: Topology) -> dict[str, float]:
    """Everything that could grow."""
    found: dict[str, float] = {}
    for name, part in topology.parts.items():
        if pid := part.process.pid:
            found[f"{name}: MB"] = memory(pid)
            found[f"{name}: files"] = len(os.listdir(f"/proc/{pid}/fd"))
    for table in TABLES:
        ((rows,),) = prefect_sql(topology, f"SELECT count(*) FROM {table}")  # noqa: S608  our own names
        found[f"{table}: rows"] = float(str(rows))
    ((size,),) = prefect_sql(topology, "SELECT pg_database_size('prefect')")
    return found | {"Prefect's database: MB": float(str(size)) / 1e6}


def grew(half: dict[str, float], end: dict[str, float]) -> list[str]:
    """What exceeds its limit at the end."""
    may = {"MB": lambda size: size * MORE_MEMORY, "files": lambda size: size + MORE_FILES}
    of_rows = sum(size for name, size in half.items() if name.endswith("rows"))
    rows = sum(size for name, size in end.items() if name.endswith("rows"))
    found = [
        name
        for name, size in end.items()
        if (kind := name.rpartition(": ")[2]) in may and name in half and size > may[kind](half[name])
    ]
    return found + (["rows of Prefect's database"] if rows > of_rows * MORE_ROWS else [])


def soak(topology: Topology, minutes: int) -> int:
    """The loop; the exit status."""
    share = max(1, topology.fleet // 8)
    quarters: list[dict[str, float]] = [{} for _ in range(QUARTERS)]
    for minute in range(minutes):
        began = time.monotonic()
        first = (minute * share) % topology.fleet
        topology.make_due(topology.paths[first : first + share])
        prefect_sql(topology, *AGE)
        time.sleep(max(0.0, 60 - (time.monotonic() - began)))
        quarter = quarters[minute * QUARTERS // minutes]
        for name, size in sizes(topology).items():
            quarter[name] = max(size, quarter.get(name, 0.0))
        print(f"after {minute + 1} minutes: load {os.getloadavg()[0]:.0f}", flush=True)
    ended = [name for name, part in topology.parts.items() if part.process.pid is None]
    print(f"{topology.fleet} secrets, {len(topology.parts)} processes, {topology.installed()} secrets rotated")
    for name in quarters[0]:
        print(f"{name:32}" + "".join(f"{quarter.get(name, float('nan')):10.0f}" for quarter in quarters))
    found = grew(quarters[1], quarters[-1])
    for name in found:
        print(f"grew: {name}")
    for name in ended:
        print(f"ended by itself: {name}")
    return 1 if found or ended else 0


def main() -> int:
    """Start everything, let it run, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=24, help="an hour each (default 24, at least 8)")
    parser.add_argument("--secrets", type=int, default=20, help="in the fleet (default 20, at least 8)")
    options = parser.parse_args()
    if min(options.minutes, options.secrets) < 8:
        parser.error("--minutes and --secrets: at least 8")
    end_in_order()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        topology = Topology(Path(directory), options.secrets, more=KEPT, between_looks=LOOKS_EVERY)
        topology.start(stack)
        return soak(topology, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
