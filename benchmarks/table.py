"""Every figure that has a goal, with what was measured now, the machine's load meanwhile, and whether the goal is met.

    python -m benchmarks.table [--rows ledger,audit] [--json FILE] [--minutes 60]

Each group of rows is measured in a process of its own by the functions of the other benchmarks, some at smaller sizes
than by default, so that all of them fit into an hour. The load is the mean of the machine's one-minute load while the
group was measured, which includes the group's own. A group marked with * needs a machine that does nothing more. The
exit code is 0 also if goals are missed: this is a report. What could not be measured, such as for want of a server, is
listed with the reason.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import figures
from benchmarks.figures import Figures
from benchmarks.processes import end_in_order

ROOT: Final = Path(__file__).parent.parent
ENDING: Final = 60.0
"""Seconds for a group that is late to end its servers."""
POLL: Final = 2.0
"""Seconds between two looks at the load."""


@dataclass(frozen=True)
class Row:
    """One figure. ``least``: the goal is a minimum, not a maximum."""

    key: str
    what: str
    goal: float
    unit: str = ""
    least: bool = False

    def met(self, measured: float) -> bool:
        """Whether the goal is reached."""
        return measured >= self.goal if self.least else measured <= self.goal


@dataclass(frozen=True)
class Group:
    """Rows that one process measures; ``quiet``: only a quiet machine tells. ``minutes`` is its limit."""

    measure: Callable[[], Figures]
    minutes: float
    rows: Sequence[Row]
    quiet: bool = False


@dataclass(frozen=True)
class Result:
    """A row's figure, or why there is none."""

    group: str
    what: str
    goal: str
    measured: float | None
    shown: str
    load: float
    verdict: str
    """``met``, ``MISSED``, or ``not measured``."""


X: Final = " x"
GROUPS: Final[Mapping[str, Group]] = {
    "push": Group(lambda: figures.synced(1000, 3, unchanged=False), 6, (
        Row("wall", "full push of 1,000 secrets to 3 clouds, against two bare processes", 1.15, X),
        Row("cpu", "full push of 1,000 secrets to 3 clouds by CPU, servers included", 1.15, X),
    ), quiet=True),
    "unchanged": Group(lambda: figures.synced(10_000, 2, unchanged=True), 6, (
        Row("wall", "10,000 unchanged secrets in 3 clouds, against the bare listings", 1.3, X),
        Row("cpu", "10,000 unchanged secrets in 3 clouds by CPU, servers included", 1.3, X),
    ), quiet=True),
    "rotation": Group(figures.rotations, 3, (
        Row("scheduled", "scheduled rotation, against the naive script", 2.0, X),
        Row("requested", "rotation requested by a person, against the naive script", 2.2, X),
        Row("aws", "scheduled rotation, against AWS's four steps", 1.0, X),
        Row("prefect", "what Prefect adds to a rotation", 150, " ms"),
    ), quiet=True),
    "fleet": Group(figures.fleets, 5, (
        Row("wall", "fleet of 200 through Prefect, against plain functions", 1.4, X),
        Row("cpu", "fleet of 200 through Prefect by CPU, without Prefect's server", 1.2, X),
    ), quiet=True),
    "ledger": Group(figures.ledgers, 4, (
        *(Row(f"append {count}", f"ledger, append of {count}, against SQLite", 1.3, X) for count in (1, 16, 256)),
        Row("one", "ledger, verify in one process, against the bare chain", 2.5, X),
        Row("two", "ledger, verify in two processes, the busier, against the bare chain", 1.9, X),
        Row("one to loop", "ledger, verify in one process, against the bare loop of the same work", 1.1, X),
    )),
    "audit": Group(figures.audit_lines, 4, (
        Row("both", "audit lines, requests and responses, against the bare decode", 1.3, X),
        Row("alone", "audit lines, responses alone, against the bare decode", 1.8, X),
        Row("typed", "typed events scored", 300_000, "/s", least=True),
    )),
    "revoke": Group(figures.revocations, 6, (
        Row("command", "target refuses after `keyturn revoke` starts, longest", 0.5, " s"),
        Row("functions", "target refuses after a revocation by plain functions starts, median", 0.5, " s"),
        Row("last", "100 secrets in one incident: last refused", 3, " s"),
        Row("closed", "100 secrets in one incident: closed", 15, " s"),
    ), quiet=True),
    "commands": Group(figures.commands, 6, (
        *(Row(name, f"`keyturn {name}` through Prefect, more than --local", 0.5, " s")
          for name in ("sync", "rotate", "retire")),
        Row("begun", "a run requested in the UI, until it begins", 0.5, " s"),
        Row("copies", "status, plan, scan of nine copies, the slowest", 0.8, " s"),
        Row("help", "`keyturn --help`", 0.15, " s"),
    ), quiet=True),
    "catalogue": Group(figures.large_catalogue, 8, (
        Row("open, first", "10,000 secrets: opened first", 2, " s"),
        Row("keyturn status", "10,000 secrets: `keyturn status`", 5, " s"),
        Row("keyturn due", "10,000 secrets: `keyturn due`", 4, " s"),
        Row("a look of rotate-due, first", "10,000 secrets: a look of rotate-due, first", 6, " s"),
        Row("a look of rotate-due", "10,000 secrets: a look of rotate-due, later", 2.5, " s"),
    ), quiet=True),
    "keeper": Group(figures.keeper, 12, (
        Row("later", "keeper with all duties at 20,000 secrets, memory", 250, " MB"),
        Row("first", "keeper's first look at 20,000 secrets, memory", 300, " MB"),
        Row("requests", "keeper's first look, requests to the hub for each secret", 1.05),
    )),
    "access": Group(figures.approvals, 3, (
        Row("longest", "approval to credential with 500 requests open, longest", 1, " s"),
    ), quiet=True),
    "proxy": Group(figures.proxied, 4, (
        Row("ratio", "a small request through `keyturn proxy`, against a bare asyncio proxy", 1.3, X),
        Row("added", "what `keyturn proxy` adds to a small request, median", 1, " ms"),
        Row("added p99", "the same, p99", 2, " ms"),
        Row("new key p99", "a rotation acknowledged, until the proxy uses the new key, p99", 50, " ms"),
        Row("failed", "calls that failed in 200 rotations under 16 streaming callers", 0),
        Row("ended", "calls with an ended key in them", 0),
    ), quiet=True),
    "demo": Group(figures.demonstration, 6, (
        Row("seconds", "`make demo`, warm", 45, " s"),
        Row("failed", "queries that failed in `make demo`", 0),
    ), quiet=True),
    "detection": Group(figures.detections, 4, (
        Row("recall", "attacks found among 10,000 principals", 92, " %", least=True),
        Row("false", "false alarms a day", 3),
    )),
    "tests": Group(figures.all_tests, 15, (Row("minutes", "`make test`", 8, " min"),), quiet=True),
}  # fmt: skip
"""In this order: the longest come last, since the hour may end before them."""


def measure(name: str, seconds: float) -> tuple[Figures | str, float]:
    """A group's figures, or why there are none; and the mean load meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        file, log = Path(place) / "figures.json", Path(place) / "log"
        command = [sys.executable, "-m", "benchmarks.table", "--measure", name, str(file)]
        over, loads = time.monotonic() + seconds, [os.getloadavg()[0]]
        with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) as process:
            while process.poll() is None and time.monotonic() < over:
                time.sleep(POLL)
                loads.append(os.getloadavg()[0])
            late = process.poll() is None
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING)
            process.kill()
        load = statistics.mean(loads)
        if late:
            return f"not finished after {seconds / 60:.0f} min", load
        if not file.exists():
            return log.read_text().strip().rpartition("\n")[2] or "it ended without a word", load
        answer: Figures | str = json.loads(file.read_text())
        return answer, load


def measure_here(name: str, file: Path) -> None:
    """In a process of its own: the figures, or the reason why a part is missing."""
    from keyturn.core.errors import KeyturnError

    try:
        answer: Figures | str = GROUPS[name].measure()
    except (KeyturnError, ImportError, OSError, RuntimeError) as error:
        answer = f"{type(error).__name__}: {error}"
    file.write_text(json.dumps(answer))


def results(name: str, group: Group, found: Figures | str, load: float) -> Iterator[Result]:
    """A result for each row of the group."""
    for row in group.rows:
        goal = f"{'at least ' if row.least else ''}{row.goal:,g}{row.unit}"
        measured = found.get(row.key) if isinstance(found, dict) else None
        if measured is None or measured != measured:
            reason = found if isinstance(found, str) else "it was not reported"
            yield Result(name, row.what, goal, None, reason, load, "not measured")
        else:
            shown = f"{measured:,.0f}{row.unit}" if abs(measured) >= 100 else f"{measured:.2f}{row.unit}"
            yield Result(name, row.what, goal, measured, shown, load, "met" if row.met(measured) else "MISSED")


def line(result: Result, *, quiet: bool) -> str:
    """The result as a line of the table; a reason is shortened."""
    where = f"{result.group}{'*' if quiet else ''}"
    return f"{where:11} {result.what:76} {result.goal:>18} {result.shown[:40]:>12} {result.load:6.1f}  {result.verdict}"


def table(
    names: Sequence[str], minutes: float, measured: Callable[[str, float], tuple[Figures | str, float]]
) -> list[Result]:
    """Measure these groups, print a line for each row as it comes, and at the end what was missed."""
    over, found = time.monotonic() + 60 * minutes, list[Result]()
    print(f"{'rows':11} {'what':76} {'goal':>18} {'measured':>12} {'load':>6}", flush=True)
    for name in names:
        group, left = GROUPS[name], over - time.monotonic()
        answer, load = measured(name, min(60 * group.minutes, left)) if left > 0 else ("no time was left", 0.0)
        for result in results(name, group, answer, load):
            found.append(result)
            print(line(result, quiet=group.quiet), flush=True)
    for verdict in ("MISSED", "not measured"):
        rows = [f"{result.what} ({result.shown}, goal {result.goal})" for result in found if result.verdict == verdict]
        print(f"\n{verdict}: {len(rows)} of {len(found)}", *rows, sep="\n  ", flush=True)
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help=f"only these, with commas between: {', '.join(GROUPS)}")
    parser.add_argument("--minutes", type=float, default=60, help="what is not measured by then is left out")
    parser.add_argument("--json", type=Path, help="write all results there, too")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    end_in_order()
    if options.measure:
        logging.disable(logging.WARNING)
        return measure_here(options.measure[0], Path(options.measure[1]))
    names = [name for name in options.rows.split(",") if name] or list(GROUPS)
    if missing := sorted(set(names) - set(GROUPS)):
        parser.error(f"--rows: no such rows: {', '.join(missing)}; there are {', '.join(GROUPS)}")
    found = table(names, options.minutes, measure)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in found], indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
