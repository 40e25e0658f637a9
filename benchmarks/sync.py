"""Many secrets in three clouds, on the same servers: what Keyturn takes, and what bare calls take.

    python benchmarks/sync.py [--secrets 1000] [--rounds 5]
    python benchmarks/sync.py --delay-ms 20 [--secrets 1000] [--rounds 3]
    python benchmarks/sync.py --unchanged --secrets 10000

The servers are the real OpenBao, the local Secrets Manager, and the emulators of Key Vault and Secret Manager. Their
published quotas are lifted, as in an account that has larger ones.

A push fills empty clouds. Keyturn plans it, starts its processes, and writes and checks every copy. The bare side is
two processes of 16 threads that make the calls of such copies alone: read the value, check for it if the cloud does not
refuse a name that is taken, create, annotate, and check for each batch and cloud whether the hub's versions are still
the same. Both sides count the start of their processes.

With a delay, every request to a cloud and to the hub takes that much longer, and the other side is the naive loop:
read, write to each cloud, next. A sample of it is measured, and its time is scaled by the number of secrets. A third
side is the floor of this machine: the calls of the naive loop alone, without checks, in two processes of 16 threads. It
shows what clients, servers and the network leave of its cores.

With ``--unchanged`` everything is in sync. Keyturn checks and finds nothing to do; the bare side fetches every page of
the stores' listings and of the hub's detailed metadata, in parallel, and discards them. Each is a process of its own,
timed from when its clients are open; the peak of memory is that of the whole process.

The sides alternate in who begins a round. Compare the ratios, not the numbers of another machine.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, cast

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.processes import at_rest, cpu, end_in_order, memory
from keyturn.catalogue import load_catalogue
from keyturn.core.plan import Action
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out
from keyturn.sync_processes.executor import executor
from keyturn.wiring.registry import open_workspace

PROCESSES: Final = 2
SAMPLE: Final = 40
ROOT: Final = Path(__file__).parent.parent
GOALS: Final = {"push": "at most 1.15", "naive": "at least 25", "list": "at most 1.3"}

FLOOR: Final = "its calls in 2 bare processes of 16 threads"

Told = dict[str, float]
"""The result of a side in one round: its seconds, those of CPU, and perhaps its peak memory in MB."""


def push(clouds: Any) -> Told:
    """Keyturn's side: plan, and apply it in processes."""
    workspace = open_workspace(clouds.catalogue, VaultHub(clouds.settings))
    began = time.perf_counter()
    planned = plan(workspace, unseen=True)
    with executor(workspace, len(planned.work)) as execute:
        results = carry_out(workspace, planned, execute)
    taken = time.perf_counter() - began
    insist(sum(result.state == "created" for result in results), 3 * len(clouds.names), "copies were created")
    return {"seconds": taken}


def bare_push(clouds: Any) -> Told:
    """The same calls in bare processes."""
    return bare(clouds, "push")


def floor(clouds: Any) -> Told:
    """The naive loop's calls in bare processes."""
    return bare(clouds, "floor")


def bare(clouds: Any, mode: str) -> Told:
    """Bare processes, each with its share of the secrets."""
    began = time.perf_counter()
    size = -(-len(clouds.names) // PROCESSES)
    shares = [clouds.names[number * size : (number + 1) * size] for number in range(PROCESSES)]
    running = [start("bare", mode, clouds.said, lines=share) for share in shares]
    for process in running:
        answer(process)
    return {"seconds": time.perf_counter() - began}


def naive(clouds: Any) -> Told:
    """The naive loop over a sample, scaled to all of the secrets."""
    sample = clouds.names[:SAMPLE]
    result = answer(start("bare", "naive", clouds.said, lines=sample))
    return {"seconds": result["seconds"] / len(sample) * len(clouds.names)}


def reconcile(clouds: Any) -> Told:
    """Keyturn's side if nothing has changed."""
    return answer(start("sync", "--reconcile", str(clouds.directory), str(clouds.ports["hub"]), str(len(clouds.names))))


def listing(clouds: Any) -> Told:
    """The pages that it needs."""
    return answer(start("bare", "list", clouds.said))


def reconcile_here(directory: Path, port: int, secrets: int) -> None:
    """In a process of its own: check once, find nothing to do, and print what it took."""
    hub = VaultHub(HubSettings(f"http://127.0.0.1:{port}", login=TokenLogin(file=str(directory / "token"))))
    workspace = open_workspace(load_catalogue(directory / "catalogue", os.environ), hub)
    for store in workspace.catalogue.stores:
        workspace.open_store(store).describe("nothing")
    hub.fingerprint_keys()
    began = time.perf_counter()
    planned = plan(workspace)
    with executor(workspace, len(planned.work)) as execute:
        carry_out(workspace, planned, execute)
    taken = time.perf_counter() - began
    insist(planned.counts().get(Action.IN_SYNC, 0), 3 * secrets, "copies were in sync")
    print(json.dumps({"seconds": taken, "peak_mb": memory(os.getpid(), "VmHWM")}))


def start(module: str, *arguments: str, lines: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """A side, or part of one, as a process that gets its names."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with cast(IO[str], process.stdin) as names:
        names.write("\n".join(lines))
    return process


def answer(process: "subprocess.Popen[str]") -> Told:
    """Its result, which must be a success."""
    text = cast(IO[str], process.stdout).read()
    if process.wait():
        raise SystemExit("one side did not get through")
    result: Told = json.loads(text)
    return result


def insist(count: int, wanted: int, what: str) -> None:
    """A side that did not do all of the work has no time."""
    if count != wanted:
        raise SystemExit(f"{count} of {wanted} {what}")


def spent(clouds: Any) -> float:
    """Seconds of CPU of this process, of its ended children, and of the servers."""
    return cpu(*clouds.processes) + sum(os.times()[:4])


def report(sides: dict[str, list[Told]], secrets: int, goal: str) -> None:
    """Each side's median, and the ratios of the rounds."""
    (slow, slow_rounds), (fast, fast_rounds), *others = sides.items()
    print(f"{'':44}{'seconds':>9}{'secrets/s':>11}{'CPU s':>9}{'peak MB':>9}")
    for name, rounds in sides.items():
        seconds = statistics.median(result["seconds"] for result in rounds)
        processor = statistics.median(result["cpu"] for result in rounds)
        peak = max(result.get("peak_mb", 0) for result in rounds)
        print(f"{name:44}{seconds:9.2f}{secrets / seconds:11.0f}{processor:9.2f}{f'{peak:9.0f}' if peak else ''}")
    print(f"\n{slow} to {fast}: {ratio(slow_rounds, fast_rounds)}, goal {goal}")
    for other, rounds in others:
        print(f"{slow} to {other}: {ratio(slow_rounds, rounds)}")
    if goal != GOALS["naive"]:  # which waits most of its time
        of_cpu = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(slow_rounds, fast_rounds, strict=True))
        print(f"the same of CPU, servers included, which a busy machine changes less: {of_cpu:.2f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def ratio(slow: list[Told], fast: list[Told]) -> str:
    """The median of the rounds' ratios, and all of them."""
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(ratios):.2f} ({', '.join(f'{value:.2f}' for value in ratios)})"


def measure(options: argparse.Namespace, clouds: Any) -> tuple[dict[str, list[Told]], str]:
    """The rounds of both sides, alternating, each on idle servers, and their goal."""
    from benchmarks import in_step

    work: dict[str, Callable[[Any], Told]]
    if options.unchanged:
        in_step.lay(clouds)
        clouds.start()
        work, goal = {"Keyturn, everything in sync": reconcile, "bare listings": listing}, GOALS["list"]
    elif options.delay_ms:
        work = {f"naive loop, measured on {SAMPLE} and scaled": naive, "Keyturn, full push": push, FLOOR: floor}
        goal = GOALS["naive"]
    else:
        work, goal = {"Keyturn, full push": push, "bare calls, 2 processes of 16 threads": bare_push}, GOALS["push"]
    sides: dict[str, list[Told]] = {name: [] for name in work}
    for number in range(-1, options.rounds):
        for name in sorted(work, reverse=number % 2 == 0):
            if not options.unchanged:
                clouds.empty()
            at_rest(*clouds.processes)
            before = spent(clouds)
            result = work[name](clouds)
            result["cpu"] = spent(clouds) - before
            # The first round imports what is needed, and fills the caches of the disk.
            if number >= 0:
                sides[name].append(result)
                print(f"  {name}: {result['seconds']:.2f} s", file=sys.stderr)
    return sides, goal


def main() -> None:
    """Measure both sides, alternating, and print the table."""
    from benchmarks.clouds import Clouds

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=1000, help="how many there are (default 1000)")
    parser.add_argument("--delay-ms", type=float, default=0, help="how much longer each request takes (default 0)")
    parser.add_argument("--unchanged", action="store_true", help="everything is in sync already")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both sides (default 5)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    end_in_order()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        names = [f"s{number:05}" for number in range(options.secrets)]
        sides, goal = measure(options, Clouds(Path(directory), stack, names, options.delay_ms))
        report(sides, options.secrets, goal)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reconcile"]:
        reconcile_here(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
