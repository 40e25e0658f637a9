"""How fast reads are scored: from raw audit lines, and typed; compared with a bare msgspec decode and a naive monitor.

    python benchmarks/monitor.py [--lines 300000] [--events 1000000] [--principals 10000] [--rounds 5]

1. The files of benchmarks/access_log.py: each side reads the file and goes through all of its lines, ours scores the
   reads.
2. Typed events of this many principals, over days, with times that are not quite in order: events a second, and the
   memory of the process meanwhile.
3. The cost of an event after many others, compared with a naive monitor that keeps a list of all events and searches
   it for each new one.

Times are CPU seconds of this process, medians of the rounds, with alternating sides; the collector of cycles is set as
the command line sets it. The load of the machine is printed, too.
"""

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.access_log import BEGAN, bare, logs, taken
from benchmarks.processes import memory
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.detection.policy import SamePolicy
from keyturn.access_log.detection.reorder import in_batches
from keyturn.access_log.detection.replay import replay_logs
from keyturn.access_log.hub_log import HubAuditLog
from keyturn.cli import SELDOM
from keyturn.core.ports.access import Access

DAY = timedelta(days=1)
APART = DAY / 200_000
"""Seconds between two events: this many fill the window of 24 hours, and stay."""
PARTS = 8
BATCH = 20_000
SOME = 200
"""Events for the naive monitor, which is slow."""


def scored(file: Path) -> Detector:
    """Read a file, and score its reads."""
    detector = Detector(SamePolicy())
    replay_logs([HubAuditLog(file, "secret")], [detector])
    return detector


def events(count: int, principals: int, first: int = 0) -> Iterator[Access]:
    """Reads of this many principals, each of its own secrets from its own addresses; one in 50 is 30 s late."""
    for number in range(first, first + count):
        late = 30 if number % 50 == 0 else 0
        who = number * 7919 % principals
        yield Access(
            at=BEGAN + APART * number - timedelta(seconds=late),
            system="hub",
            path=f"team-{who % 97}/key-{number % 5}",
            version=1,
            principal=f"approle trainer-{who}",
            source=f"10.{who % 200}.0.{number % 3}",
            login=f"{who:08x}",
        )


class Naive:
    """Keeps all events, and searches them for each new one."""

    def __init__(self, history: Sequence[Access]) -> None:
        self._events = list(history)

    def scores(self, accesses: Sequence[Access]) -> list[float]:
        """Of each."""
        return [self.score(access) for access in accesses]

    def score(self, access: Access) -> float:
        """The four scores."""
        window = [other for other in self._events if other.principal == access.principal and access.at - DAY < other.at]
        self._events.append(access)
        score = 0.3 * (len(window) >= 1000) + 0.2 * (not 6 <= access.at.hour < 22)
        score += 0.4 * all(other.source != access.source for other in window)
        return score + 0.3 * all(other.path != access.path for other in window)


def lines_compared(count: int, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Of each file its name, and the seconds of the bare decode and of ours."""
    with tempfile.TemporaryDirectory() as directory:
        for name, file in logs(Path(directory), count):
            scored(file)
            both = [(taken(partial(bare, file)), taken(partial(scored, file))) for _ in range(rounds)]
            beside, own = (statistics.median(times) for times in zip(*both, strict=True))
            yield name, beside, own


def lines_a_second(count: int, rounds: int) -> None:
    """The first part."""
    for name, beside, own in lines_compared(count, rounds):
        print(f"{name}: {count:,} lines")
        print(f"  bare msgspec decode     {count / beside:>10,.0f} lines a second")
        print(f"  read, typed and scored  {count / own:>10,.0f} lines a second: {own / beside:.2f} times its time")


def events_a_second(count: int, principals: int) -> float:
    """The second part, and its result: the cost of making the events is not counted."""
    detector, spent, sizes = Detector(SamePolicy()), 0.0, list[str]()
    part = count // PARTS
    for number in range(0, part * PARTS, part):
        for first in range(number, number + part, BATCH):
            spent += taken(partial(feed, detector, list(events(min(BATCH, number + part - first), principals, first))))
        sizes.append(f"{memory(os.getpid(), 'VmRSS'):.0f}")
    print(f"typed events: {part * PARTS:,} of {principals:,} principals, {part * PARTS * APART / DAY:.1f} days")
    print(f"  scored                  {part * PARTS / spent:>10,.0f} events a second")
    print(f"  memory after each of {PARTS} parts: {', '.join(sizes)} MB")
    return part * PARTS / spent


def feed(detector: Detector, accesses: Sequence[Access]) -> None:
    """Score them."""
    for some in in_batches(accesses):
        detector.take_all(some)


def cost_by_history(principals: int) -> None:
    """The third part."""
    print("an event, by how many came before it")
    for history in (5_000, 50_000, 200_000):
        before, after = list(events(history, principals)), list(events(20_000, principals, history))
        detector, naive = Detector(SamePolicy()), Naive(before)
        feed(detector, before)
        own = taken(partial(feed, detector, after)) / len(after)
        few = after[: max(10, SOME * 5_000 // history)]
        theirs = taken(partial(naive.scores, few)) / len(few)
        rates = f"ours {1 / own:>9,.0f} a second, naive {1 / theirs:>7,.0f}"
        print(f"  {history:>8,}: {rates}: {theirs / own:,.0f} times our time")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=300_000, help="of each file")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--principals", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    gc.set_threshold(*SELDOM)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
    lines_a_second(arguments.lines, arguments.rounds)
    events_a_second(arguments.events, arguments.principals)
    cost_by_history(arguments.principals)


if __name__ == "__main__":
    main()
