"""The figures of the table of benchmarks, measured by the functions of the other modules: each key is a row's.

A figure is a ratio, or in the unit of its row. Each function starts what it needs and ends it.
"""

import argparse
import gc
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent

Figures = dict[str, float]
"""What was measured, by the keys of the group's rows."""


@contextmanager
def directory() -> Iterator[tuple[Path, ExitStack]]:
    """A temporary directory, and a stack that ends before it is removed."""
    with tempfile.TemporaryDirectory() as path, ExitStack() as stack:
        yield Path(path), stack


def middle(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def synced(secrets: int, rounds: int, *, unchanged: bool) -> Figures:
    """Both sides of a sync, by the clock and by CPU, and the first side's memory."""
    from benchmarks import sync
    from benchmarks.clouds import Clouds

    with directory() as (path, stack):
        clouds = Clouds(path, stack, [f"s{number:05}" for number in range(secrets)], 0)
        options = argparse.Namespace(unchanged=unchanged, delay_ms=0, rounds=rounds, secrets=secrets)
        ours, bare = list(sync.measure(options, clouds)[0].values())[:2]
    ratios = {key: middle([run[key] for run in ours], [run[key] for run in bare]) for key in ("seconds", "cpu")}
    return {"wall": ratios["seconds"], "cpu": ratios["cpu"], "mb": max(run.get("peak_mb", 0) for run in ours)}


def rotations() -> Figures:
    """One rotation: by schedule, by request, and through Prefect."""
    from benchmarks import rotation as sides

    taken = {name: statistics.median(times) for name, times in sides.measured(20).items()}
    naive, asked = taken[sides.NAIVE], taken[sides.ASKED_FOR]
    return {
        "scheduled": taken[sides.SCHEDULED] / naive,
        "requested": asked / naive,
        "aws": taken[sides.SCHEDULED] / taken[sides.FOUR_STEPS],
        "prefect": taken[sides.THROUGH_PREFECT] - asked,
    }


def fleets() -> Figures:
    """200 due secrets through Prefect, against plain functions."""
    from benchmarks import fleet

    sides = fleet.measured(200, 8, 3)
    flow, plain = sides[fleet.FLOW], sides[fleet.PLAIN]
    pairs = {key: [[getattr(run, key) for run in side] for side in (flow, plain)] for key in ("wall", "cpu")}
    return {key: middle(*sides) for key, sides in pairs.items()}


def ledgers() -> Figures:
    """Appends against SQLite, and verifying against the bare chain."""
    from benchmarks import ledger

    with directory() as (path, _):
        appended = {}
        for batch in ledger.BATCHES:
            ours, bare = ledger.appending(path, batch, 150)
            appended[f"append {batch}"] = statistics.median(ours) / statistics.median(bare)
        key = ledger.Key()
        found = ledger.verifying(ledger.large(path, 300_000, key), 300_000, key)
    alone, two = found.ways[ledger.ONE_PROCESS][0], found.ways[ledger.TWO_PROCESSES][1]
    floor = {"one to loop": alone / found.loop, "loop": found.loop / found.chain}
    return {**appended, "one": alone / found.chain, "two": two / found.chain, **floor}


def audit_lines() -> Figures:
    """Reading audit lines against the bare decode, and scoring typed events."""
    from benchmarks import access_log, monitor
    from keyturn.cli import SELDOM

    gc.set_threshold(*SELDOM)
    with directory() as (path, _):
        both, alone = (access_log.compared(file, 5) for _, file in access_log.logs(path, 200_000))
    events = monitor.events_a_second(600_000, 10_000)
    return {"both": both[1] / both[0], "alone": alone[1] / alone[0], "typed": events}


def revocations() -> Figures:
    """From the start of `keyturn revoke`, or of an incident of 100 secrets."""
    from benchmarks import revoke

    with directory() as (path, stack):
        site = revoke.Site(path, stack, 100)
        command, plain = revoke.command(site, 5), revoke.plain(site, 10)[0]
        last, closed = revoke.many(site)
    return {"command": max(command), "functions": statistics.median(plain), "last": last, "closed": closed}


def commands() -> Figures:
    """Commands on the local stack, with and without Prefect, and runs that are requested in the UI."""
    from benchmarks import cli

    with cli.stack_of(None) as stack:
        more = {name: through - local for name, local, through in cli.compared(stack, 3)}
        begun = {flow: begun for flow, begun, _ in cli.waits(stack, 3)}
        alone = {name: [cli.timed(stack, [name]) for _ in range(4)][1:] for name in ("status", "plan", "scan")}
        helped = [cli.timed(stack, ["--help"]) for _ in range(6)][1:]
    slowest = max(statistics.median(times) for times in alone.values())
    return {**more, "begun": max(begun.values()), "copies": slowest, "help": min(helped)}


def large_catalogue() -> Figures:
    """10,000 secrets: opening, status, due, and looks of rotate-due."""
    from benchmarks import catalogue

    wanted = ("open, first", "keyturn status", "keyturn due", "a look of rotate-due", "a look of rotate-due, first")
    found: Figures = {}
    with directory() as (path, stack):
        for name, taken in catalogue.measured(catalogue.Site(path, stack, 10_000), 2):
            found |= {name: taken.wall, f"{name}, CPU": taken.cpu}
            if all(name in found for name in wanted):
                return found
    return found


def keeper() -> Figures:
    """Memory of the keeper at 20,000 secrets, with all duties due."""
    from benchmarks import scale

    def looks(site: Any) -> dict[str, scale.Figures]:
        return {name: scale.measure(site, "keeper") for name in ("first", "later")}

    found = scale.in_a_site(20_000, looks)
    first, later = found["first"], found["later"]
    return {"first": first["memory"], "later": later["memory"], "requests": first["hub"] / 20_000}


def approvals() -> Figures:
    """From the approval to the credential."""
    from benchmarks import grants
    from keyturn.rotation.state.context import side_by_side

    with grants.opened() as bench:
        requests = side_by_side(bench.request, range(500), grants.AT_ONCE)
        side_by_side(lambda request: grants.deliver_request(bench.workspace, request), requests, 8)
        return {"longest": max(grants.deliveries(bench, 500))}


def proxied() -> Figures:
    """What the proxy adds to a request, and how a rotation reaches it."""
    from benchmarks import proxy

    return proxy.measure(requests=3000, rotations=200, callers=16)


def demonstration() -> Figures:
    """The demonstration, on a home that an earlier one has prepared, and its failed queries."""
    with directory() as (path, _):
        variables = {**os.environ, "KEYTURN_HOME": str(path / "home"), "COLUMNS": "200"}
        for _ in range(2):
            taken, text = run([sys.executable, "-m", "local.demo"], variables)
    failed = re.search(r"queries, (\d+) failed", text)
    return {"seconds": taken, "failed": float(failed[1]) if failed else math.nan}


def all_tests() -> Figures:
    """`make test`."""
    return {"minutes": run(["make", "test"], os.environ)[0] / 60}


def run(command: Sequence[str], variables: Mapping[str, str]) -> tuple[float, str]:
    """The seconds that a command takes, and its output. Raises RuntimeError if it fails; it ends with this process."""
    began = time.monotonic()
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=dict(variables), cwd=ROOT, **streams) as process:
        try:
            text, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {' '.join(text[-300:].split())}")
    return time.monotonic() - began, text


def detections() -> Figures:
    """One seed of a lab of 10,000 principals, for which no rule was tuned."""
    from benchmarks import detection
    from keyturn.cli import SELDOM

    gc.set_threshold(*SELDOM)
    options = argparse.Namespace(
        principals=10_000, reads_a_day=40_000, days=18, warm_up=11, instances=3, bare=False, alert=0.7
    )
    data = detection.Report([detection.measured(options, 105)]).data()
    return {"recall": 100 * data["all"]["recall"], "false": data["false_alarms_a_day"]}
