"""What a site costs as it grows: due, status, plan, sync and the keeper, at several numbers of secrets.

    python benchmarks/scale.py [--secrets 1000 5000 20000] [--runs 2] [--json FILE]

For each number of secrets there is a durable OpenBao with a version, metadata and the record of a past rotation for
each, and copies in sync in the emulators of Secrets Manager, Key Vault, GCP Secret Manager and, for every tenth,
Parameter Store. Each command runs in its own process. Reported are wall time and CPU (of the fastest run, since others
may use this machine), peak memory, and every request that it sent. The servers' own CPU is listed separately:
emulators are not the clouds. "First" is without caches, "anew" after a change of the catalogue's files: it reads and
checks all of them.

At the end the script prints how each figure grows: the exponent of a fit through all numbers of secrets (log-log, least
squares), and of the last two alone, where a command's start matters least. 1.00 is a flat cost per secret.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import logging
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import cpu, end_in_order, memory

ROOT: Final = Path(__file__).parent.parent
GOAL: Final = 1.05
"""The greatest exponent of CPU time."""
MEMORY: Final = 400
"""The maximum of MB for a command."""
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "due": ["due"],
    "status": ["status"],
    "plan": ["plan"],
    "sync": ["sync", "--local"],
}
LOOKS: Final = (*COMMANDS, "keeper")
ANEW: Final = ("due", "status", "plan")
"""Commands that are also measured after a change of the catalogue."""
SERVERS: Final = ("hub", "aws", "azure", "gcp")
SERVERS_CPU: Final = "servers' cpu"

Figures = dict[str, float]
"""The cost of one command: seconds, MB, and requests by their receiver.

``told`` is a command's exit code, or how many runs the keeper would start; 0 if all is in sync.
"""


class Requests:
    """Counts what this process sends, by port: one place for HTTP, one for gRPC."""

    def __init__(self) -> None:
        self.sent: Counter[int] = Counter()
        self.writes: Counter[int] = Counter()

    def install(self) -> None:
        """Count from now on."""
        import grpc

        put, open_channel = http.client.HTTPConnection.putrequest, grpc.insecure_channel

        def counting(connection: Any, method: str, *arguments: Any, **options: Any) -> None:
            self.sent[connection.port] += 1
            self.writes[connection.port] += method in ("POST", "PUT", "PATCH", "DELETE")
            put(connection, method, *arguments, **options)

        def opening(target: str, *arguments: Any, **options: Any) -> Any:
            port, sent = int(target.rpartition(":")[2]), self.sent

            class Counting(grpc.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
                def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
                    sent[port] += 1
                    return continuation(details, request)

            return grpc.intercept_channel(open_channel(target, *arguments, **options), Counting())

        http.client.HTTPConnection.putrequest = counting  # type: ignore[assignment, method-assign]
        grpc.insecure_channel = opening


def run_command(arguments: Sequence[str]) -> int:
    """Run the command as a terminal would, without a terminal; its exit code, if that is no failure."""
    from keyturn.cli.app import app
    from keyturn.cli.failures import BEHIND, UNKNOWN

    # A file, not memory: the output of many secrets is megabytes.
    with tempfile.TemporaryFile("w+") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = app(list(arguments), standalone_mode=False) or 0
        except SystemExit as ended:
            code = ended.code
        if code not in (0, BEHIND, UNKNOWN):
            out.seek(0)
            words = out.read()[-2000:]
            raise SystemExit(f"keyturn {' '.join(arguments)} has failed:\n{words}")
    return int(code)


def look_as_keeper() -> int:
    """What the keeper checks when every duty is due, without Prefect; how many runs it would start."""
    from flows.support.duties import Duty, all_duties
    from tasks.workspace import current_workspace

    async def look() -> int:
        opened, wanted = current_workspace(), 0

        async def see_to(duty: Duty) -> None:
            nonlocal wanted
            wanted += len(await duty.look(opened))

        await all_duties(see_to)
        return wanted

    return asyncio.run(look())


def measure_here(name: str, places: Mapping[str, Any]) -> Figures:
    """In a process of its own: one command, and its cost."""
    requests = Requests()
    requests.install()
    began, before = time.perf_counter(), own_cpu()
    told = run_command(COMMANDS[name]) if name in COMMANDS else look_as_keeper()
    sent = {server: float(requests.sent[places[server]]) for server in SERVERS}
    writes = float(requests.writes[places["hub"]])
    wall, spent, peak = time.perf_counter() - began, own_cpu() - before, memory(os.getpid(), "VmHWM")
    return {"told": told, "wall": wall, "cpu": spent, "memory": peak, **sent, "hub writes": writes}


def own_cpu() -> float:
    """Seconds of CPU of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(site: Any, name: str) -> Figures:
    """One command in a process of its own, with the CPU of the servers and the growth of the stored data."""
    from benchmarks.scale_site import places, stored

    before, kept = cpu(*site.processes), stored(site.directory)
    command = [sys.executable, "-m", "benchmarks.scale", "--look", name, places(site)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"the look of {name} has failed")
    figures: Figures = json.loads(done.stdout)
    grown = {f"{place} bytes": float(size - kept[place]) for place, size in stored(site.directory).items()}
    return figures | {SERVERS_CPU: cpu(*site.processes) - before} | grown


def measured(site: Any, runs: int) -> dict[str, Figures]:
    """Every command, including the first ones; of several runs the one that took least CPU."""
    figures = {"due, first": measure(site, "due")}
    for name in LOOKS:
        measure(site, name)  # for what one command caches and another does not
        figures[name] = min((measure(site, name) for _ in range(runs)), key=lambda run: run["cpu"])
    for name in ANEW:
        shutil.rmtree(site.directory / "cache")
        figures[f"{name}, anew"] = measure(site, name)
    return figures


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """How cost grows with size: the slope of the least-squares line through their logarithms; NaN without costs."""
    if min(costs, default=0) <= 0 or len(costs) < 2:
        return math.nan
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covered = sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True))
    return covered / sum((one - mean_x) ** 2 for one in x)


def show(secrets: int, figures: Mapping[str, Figures]) -> None:
    """The table of one number of secrets."""
    heads = (
        "wall s",
        "CPU s",
        "peak MB",
        "hub",
        "writes",
        "aws",
        "azure",
        "gcp",
        "servers' CPU",
        "ledger B",
        "audit kB",
    )
    print(f"\n{f'{secrets:,} secrets':16}" + "".join(f"{head:>{max(len(head), 7) + 2}}" for head in heads))
    for name, run in figures.items():
        cells = [f"{run['wall']:.2f}", f"{run['cpu']:.2f}", f"{run['memory']:.0f}"]
        cells += [f"{run[server]:.0f}" for server in ("hub", "hub writes", "aws", "azure", "gcp")]
        cells += [f"{run[SERVERS_CPU]:.2f}"]
        cells += [f"{run['ledger bytes']:.0f}", f"{run['audit bytes'] / 1000:.0f}"]
        line = zip(heads, cells, strict=True)
        aside = f"  not in step: {run['told']:.0f}" if run["told"] else ""
        print(f"{name:16}" + "".join(f"{cell:>{max(len(head), 7) + 2}}" for head, cell in line) + aside, flush=True)


def show_growth(by_size: Mapping[int, Mapping[str, Figures]]) -> None:
    """How each figure grows, and whether the goals are met."""
    sizes = list(by_size)
    figures = ("wall", "cpu", "memory", "hub", "aws", "azure", "gcp", SERVERS_CPU)
    print(f"\n{'exponents: all, last two':26}" + "".join(f"{name:>16}" for name in figures))
    for name in by_size[sizes[0]]:
        costs = {figure: [by_size[size][name][figure] for size in sizes] for figure in figures}
        cells = [f"{exponent(sizes, cost):.2f} {exponent(sizes[-2:], cost[-2:]):6.2f}" for cost in costs.values()]
        print(f"{name:26}" + "".join(f"{cell:>16}" for cell in cells))
    looks = [run for name, run in by_size[sizes[-1]].items()]
    worst = max(exponent(sizes, [by_size[size][name]["cpu"] for size in sizes]) for name in LOOKS)
    peak = max(run["memory"] for run in looks)
    print(f"\nCPU grows with {worst:.2f} at most, goal {GOAL}: {'met' if worst <= GOAL else 'MISSED'}")
    print(f"memory at most {peak:.0f} MB, goal {MEMORY}: {'met' if peak <= MEMORY else 'MISSED'}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def in_a_site(secrets: int, work: Callable[[Any], dict[str, Figures]]) -> dict[str, Figures]:
    """The result of ``work`` on a site of that many secrets, which is removed afterwards."""
    from benchmarks.scale_site import Site, stored

    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        began = time.perf_counter()
        site = Site(Path(directory), stack, secrets)
        kept = stored(site.directory)["hub"] / secrets
        print(f"\nlaid in {time.perf_counter() - began:.0f} s; the hub keeps {kept:.0f} bytes a secret", flush=True)
        return work(site)


def main() -> None:
    """Measure each number of secrets, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, nargs="+", default=[1000, 5000, 20000], help="how many there are")
    parser.add_argument("--runs", type=int, default=2, help="of each look the cheapest of so many counts (default 2)")
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    end_in_order()
    by_size = {}
    for secrets in sorted(options.secrets):
        by_size[secrets] = in_a_site(secrets, lambda site: measured(site, options.runs))
        show(secrets, by_size[secrets])
    show_growth(by_size)
    if options.json:
        options.json.write_text(json.dumps(by_size, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--look"]:
        logging.disable(logging.WARNING)
        print(json.dumps(measure_here(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        main()
