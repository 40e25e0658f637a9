"""How many attacks are found, how soon, and how often a person is alerted for nothing.

    python benchmarks/detection.py [--principals 1000] [--reads-a-day 100000] [--days 21] [--warm-up 10]
                                   [--instances 3] [--seeds 1,2,3] [--bare] [--alert 0.7]
                                   [--json FILE] [--summary FILE]
                                   [--export FILE --format events|openbao] [--scripts]

Mixes attacks (benchmarks/lab/attacks, each after a publication) into the ordinary reads of a lab (benchmarks/lab), has
the detector judge them as they come, and compares its alerts with the labels. The full lab is `--principals 10000
--reads-a-day 10000000`. How results are counted, and the sources of the lab's numbers: benchmarks/detection.md.

`--export` writes a run's events and judges nothing: one JSON line each with its label, or a hub's audit lines with the
labels in a second file (FILE.labels). Equal arguments give equal events. `--scripts` lists the attacks.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.lab.attacks import SCENARIOS, Attack, plan
from benchmarks.lab.calendar import Calendar
from benchmarks.lab.export import write_events, write_openbao
from benchmarks.lab.measure import Observer, Report, Run
from benchmarks.lab.operator import LabPolicies, history
from benchmarks.lab.traffic import events
from benchmarks.lab.world import World, build
from benchmarks.processes import memory
from keyturn.access_log.detection.detector import Detector
from keyturn.cli import SELDOM
from keyturn.core.ports.access import Access

LONGEST: Final = max(entry.lasts for entry in SCENARIOS.values())


def played(arguments: argparse.Namespace, seed: int) -> tuple[World, list[Attack], Iterator[tuple[Access, str]]]:
    """A lab, its attacks, and all events."""
    calendar = Calendar.drawn(arguments.days, arguments.warm_up, seed)
    world = build(seed, calendar, arguments.principals, arguments.reads_a_day)
    try:
        attacks = plan(world, arguments.instances)
    except ValueError as error:
        raise SystemExit(f"{error}: give more --principals or fewer --instances") from None
    return world, attacks, events(world, [attack.bursts(world) for attack in attacks])


def measured(arguments: argparse.Namespace, seed: int) -> Run:
    """The results of one seed."""
    began = time.process_time()
    world, attacks, happened = played(arguments, seed)
    observer = Observer(
        Detector(
            LabPolicies(world, bare=arguments.bare, alert=round(arguments.alert * 1000)), history(world), live=True
        )
    )
    observer.watch(happened)
    run = observer.result(seed, attacks, arguments.warm_up, arguments.days)
    run.seconds = time.process_time() - began
    run.kinds = {principal.name: principal.kind for principal in world.principals}
    return run


def table(report: Report) -> Iterator[str]:
    """The report for people."""
    data = report.data()
    for title, key in (("family", "families"), ("scenario", "scenarios")):
        yield f"{title:<42} {'found':>9} {'recall':>7} {'95 %':>13} {'seconds':>8}"
        yield from (f"{name:<42} {line(row)}" for name, row in data[key].items())
        yield ""
    yield f"{'all that leave a trace':<42} {line(data['findable'])}"
    yield f"{'with mimicry':<42} {line(data['all'])}"
    yield from ("", *summary(report)[1:])


def line(row: dict[str, Any]) -> str:
    """A row's numbers."""
    low, high = row["interval"]
    seconds = "" if row["seconds"] is None else f"{row['seconds']:,.0f}"
    part = f"{row['found']}/{row['attacks']}"
    return f"{part:>9} {row['recall']:>7.1%} {low:>6.1%}-{high:>6.1%} {seconds:>8}"


def summary(report: Report) -> list[str]:
    """For authors of rules: families and false alarms, without the scripts."""
    data = report.data()
    families = [f"  {name:<40} {line(row)}" for name, row in data["families"].items()]
    false = [f"  {count:>6}  {factors}" for factors, count in report.false_by_factors().most_common(25)]
    kind = [f"  {count:>6}  {kind}: {factors}" for (kind, factors), count in report.false_by_kind().most_common(25)]
    by_seed = ", ".join(f"{value:.2f}" for value in data["false_alarms_a_day_by_seed"])
    return [
        f"recall of what leaves a trace: {line(data['findable'])}; with mimicry: {line(data['all'])}",
        f"false alarms a day: {data['false_alarms_a_day']:.2f} (by seed {by_seed}), "
        f"high ones {data['high_false_alarms_a_day']:.2f}; precision {data['precision']:.1%}",
        "were alerts above a score alone told: recall, false alarms a day",
        *(f"  {limit / 1000:.1f} {recall:>7.1%} {false:>8.2f}" for limit, recall, false in report.curve()),
        "recall by family",
        *families,
        f"false alarms by factors, of {data['days_counted']:.0f} days in all",
        *false,
        "false alarms by kind of principal",
        *kind,
        "examples",
        *(f"  {words}" for words in report.examples(20)),
    ]


def export(arguments: argparse.Namespace, seed: int) -> None:
    """Write a run's events."""
    write = write_openbao if arguments.format == "openbao" else write_events
    _, attacks, happened = played(arguments, seed)
    count = write(arguments.export, happened)
    print(f"{count:,} events, {len(attacks)} attacks: {arguments.export}")


def scripts() -> Iterator[str]:
    """Each attack, as a row of a table."""
    for entry in sorted(SCENARIOS.values(), key=lambda entry: (entry.family, entry.name)):
        yield f"| {entry.family} | `{entry.name}` | {entry.does} | {entry.source} |"


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--principals", type=int, default=1_000)
    parser.add_argument(
        "--reads-a-day",
        type=int,
        default=100_000,
        help="services read what people and jobs leave of it, but a third of it at least",
    )
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--warm-up", type=int, default=10, help="days of which nothing is counted")
    parser.add_argument("--instances", type=int, default=3, help="of each script")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--alert", type=float, default=0.7, help="the score above which there is an alert")
    parser.add_argument("--bare", action="store_true", help="without the settings of a careful operator")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--summary", type=Path, help="write recall by family and false alarms by factor there")
    parser.add_argument("--export", type=Path)
    parser.add_argument("--format", choices=("events", "openbao"), default="events")
    parser.add_argument("--scripts", action="store_true")
    arguments = parser.parse_args()
    if not 0 < arguments.warm_up <= arguments.days - LONGEST:
        parser.error(f"attacks last up to {LONGEST} days: let there be as many after the warm-up, and one before")
    return arguments


def main() -> None:
    """Measure."""
    arguments = parsed()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.scripts:
        print("\n".join(scripts()))
        return
    if arguments.export:
        export(arguments, seeds[0])
        return
    gc.set_threshold(*SELDOM)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
    runs = []
    for seed in seeds:
        runs.append(run := measured(arguments, seed))
        peak = memory(os.getpid(), "VmHWM")
        print(
            f"seed {seed}: {run.events:,} events ({run.events / arguments.days:,.0f} a day) "
            f"in {run.seconds:,.0f} CPU seconds, {peak:.0f} MB at most",
            flush=True,
        )
    report = Report(runs)
    print("\n".join(table(report)))
    if arguments.summary:
        arguments.summary.write_text("\n".join(summary(report)) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(report.data(), indent=1) + "\n")


if __name__ == "__main__":
    main()
