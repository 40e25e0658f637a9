"""Whether a scheduler that learns from the load beats jitter: four ways to place the same rotations, simulated.

    python benchmarks/schedules.py [--secrets 20000] [--days 240] [--interval 30] [--jitter 3] [--seeds 3]

Teams bring their secrets in batches, in working hours, and each is rotated every ``interval`` days or up to ``jitter``
days later. Applications use the same quota of the store: their load depends on the hour and the weekday, has jobs at
fixed times, and changes once, as when a team moves its nightly job. The rotations are placed

- ``cron``: all that come due in a day at 03:00, as a cron script would;
- ``jitter``: where the path's hash puts each within its jitter, by the product's own code;
- ``jitter at night``: the same in a window from 20:00 to 06:00 on working days, as the catalogue may say;
- ``learned``: in the hour within the jitter with the least predicted load, from the last four weeks and from what was
  placed there.

All of them are started by a keeper that runs every 15 minutes. A rotation sends its calls in one minute, and calls
beyond the quota of a minute wait for the next. Reported are, after two months: the busiest minute of rotations alone
and together with the applications; in how many minutes the quota was used up; the longest wait of a rotation; how many
were later than interval, jitter and an hour; and what failures cost people: one rotation in a thousand fails, which
takes half an hour in working hours, and two hours at other times.
"""

import argparse
import heapq
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from keyturn.core.schedule.facts import delay
from keyturn.core.schedule.windows import Window

BEGINS: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday; all that follows is counted in minutes from here."""
HOUR, DAY, WEEK = 60, 24 * 60, 7 * 24 * 60
LOOK: Final = 15
"""Minutes between two rounds of the keeper."""
QUOTA: Final = 600
"""Calls a minute: GCP Secret Manager's quota for writes, the smallest of the three clouds' secret stores."""
CALLS: Final = 3
"""Of one rotation with a copy there: find it, add a version, annotate."""
BATCH: Final = 400
"""Secrets that a team brings at once."""
ARRIVAL: Final = 30 * DAY
"""Minutes within which all teams come."""
MEMORY: Final = 4
"""Weeks that the scheduler learns from."""
FAILS: Final = 0.001
AT_WORK, CALLED = 0.5, 2.0
"""Hours of a person for a failure in working hours, and at other times."""
NIGHTS: Final = Window(frozenset(range(5)), time(20), time(6), "UTC")
JOBS: Final = ((1, 0), (3, 0), (4, 30), (6, 15), (12, 0), (22, 0))
"""Hour and minute of the applications' jobs, each of which takes most of the quota for some minutes."""
MOVED: Final = 5 * HOUR
"""They run this much later in the second half."""


def working(minute: int) -> bool:
    """Whether people are at work."""
    return minute % WEEK < 5 * DAY and 9 * HOUR <= minute % DAY < 17 * HOUR


def load_of_applications(minutes: int, chance: random.Random) -> list[int]:
    """Calls of the applications in each minute."""
    load = [round(chance.gauss(180 if working(minute) else 60, 20)) for minute in range(minutes)]
    for begun in range(0, minutes, DAY):
        for hour, minute in JOBS:
            at = begun + hour * HOUR + minute + (MOVED if begun > minutes // 2 else 0)
            for place in range(at, min(at + 5, minutes)):
                load[place] += 380
    return [max(0, calls) for calls in load]


@dataclass
class Learned:
    """Places each rotation in the hour with the least predicted load; ``load`` is the applications' load so far."""

    load: Sequence[int]
    placed: Counter[int] = field(default_factory=Counter)
    """Rotations by hour."""

    def __post_init__(self) -> None:
        self._hours = [sum(self.load[begun : begun + HOUR]) for begun in range(0, len(self.load), HOUR)]

    def foretold(self, hour: int, now: int) -> float:
        """Predicted calls in an hour: the mean of the same hour of the last weeks, and what was placed there."""
        week = WEEK // HOUR
        seen = [hour - week * back for back in range(1, MEMORY + 2) if 0 <= hour - week * back < now // HOUR]
        before = [self._hours[place] for place in seen[:MEMORY]]
        return (sum(before) / len(before) if before else 0) + CALLS * self.placed[hour]

    def place(self, path: str, due: int, now: int, jitter: int) -> int:
        """The minute in which to rotate a secret that is due at ``due``, or up to ``jitter`` later."""
        hours = range(-(-due // HOUR), max(-(-due // HOUR) + 1, (due + jitter) // HOUR))
        chosen = min(hours, key=lambda hour: (self.foretold(hour, now), hour))
        self.placed[chosen] += 1
        return chosen * HOUR + int(delay(path, timedelta(minutes=HOUR)) / timedelta(minutes=1))


Place = Callable[[str, int, int, int], int]
"""When to rotate: by the path, the minute it is due, the present one, and its jitter in minutes."""


def by_cron(path: str, due: int, now: int, jitter: int) -> int:
    """At 03:00 of the next day."""
    return (due // DAY + 1) * DAY + 3 * HOUR


def by_jitter(path: str, due: int, now: int, jitter: int) -> int:
    """Where its hash says."""
    return due + int(delay(path, timedelta(minutes=jitter)) / timedelta(minutes=1))


def at_night(path: str, due: int, now: int, jitter: int) -> int:
    """The same, once the window is open."""
    at = BEGINS + timedelta(minutes=by_jitter(path, due, now, jitter))
    return int((NIGHTS.next_opening(at) - BEGINS) / timedelta(minutes=1))


@dataclass
class Result:
    """The result of one way."""

    calls: Counter[int] = field(default_factory=Counter)
    """Of rotations, by the minute."""
    rotations: int = 0
    late: int = 0
    waited: int = 0
    hours: float = 0.0

    def row(self, load: Sequence[int], since: int) -> tuple[float, ...]:
        """Busiest minutes alone and together, minutes with the quota used up, wait, late, people's hours a month."""
        own = max((calls for minute, calls in self.calls.items() if minute >= since), default=0)
        both = [load[minute] + self.calls[minute] for minute in range(since, len(load))]
        months = (len(load) - since) / (30 * DAY)
        full = sum(calls > QUOTA - CALLS for calls in both)
        return own, max(both), full, self.waited, 100 * self.late / max(1, self.rotations), self.hours / months


def arrivals(secrets: int, chance: random.Random) -> Iterator[tuple[int, str]]:
    """When each secret is first made, and its path: teams come in working hours."""
    for begun in range(0, secrets, BATCH):
        minute = chance.randrange(ARRIVAL)
        while not working(minute):
            minute = chance.randrange(ARRIVAL)
        yield from (
            (minute, f"team-{begun // BATCH}/s{number}") for number in range(begun, min(begun + BATCH, secrets))
        )


def simulate(
    place: Place, load: Sequence[int], made: Sequence[tuple[int, str]], interval: int, jitter: int, since: int
) -> Result:
    """Rotate everything in time, as far as the quota allows, and report on the time after the minute ``since``."""
    result = Result()
    waiting = [(place(path, at + interval, at, jitter), at + interval, path) for at, path in made]
    heapq.heapify(waiting)
    begun: list[tuple[int, int, str]] = []
    for minute in range(len(load)):
        if minute % LOOK == 0:
            while waiting and waiting[0][0] <= minute:
                begun.append((minute, *heapq.heappop(waiting)[1:]))
        room = max(0, QUOTA - load[minute]) // CALLS
        now, begun = begun[:room], begun[room:]
        if now:
            result.calls[minute] += CALLS * len(now)
        for started, due, path in now:
            heapq.heappush(waiting, (place(path, minute + interval, minute, jitter), minute + interval, path))
            if minute >= since:
                result.rotations += 1
                result.late += minute > due + jitter + HOUR
                result.waited = max(result.waited, minute - started)
                result.hours += FAILS * (AT_WORK if working(minute) else CALLED)
    return result


def compared(secrets: int, days: int, interval: int, jitter: int, seed: int) -> dict[str, tuple[float, ...]]:
    """The row of each way, in one world."""
    chance = random.Random(seed)  # noqa: S311
    load = load_of_applications(days * DAY, chance)
    made = sorted(arrivals(secrets, chance))
    ways: dict[str, Place] = {
        "cron": by_cron,
        "jitter": by_jitter,
        "jitter at night": at_night,
        "learned": Learned(load).place,
    }
    since = min(2 * ARRIVAL, days * DAY // 2)
    results = {name: simulate(place, load, made, interval * DAY, jitter * DAY, since) for name, place in ways.items()}
    return {name: result.row(load, since) for name, result in results.items()}


def main() -> None:
    """Simulate, and print the table: the mean of the worlds for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--interval", type=int, default=30, help="days")
    parser.add_argument("--jitter", type=int, default=3, help="days")
    parser.add_argument("--seeds", type=int, default=3, help="so many worlds")
    options = parser.parse_args()
    worlds = [
        compared(options.secrets, options.days, options.interval, options.jitter, seed)
        for seed in range(1, options.seeds + 1)
    ]
    heads = ("own peak", "with apps", "minutes full", "longest wait", "late %", "people h/month")
    print(f"{f'{options.secrets:,} secrets':18}" + "".join(f"{head:>16}" for head in heads))
    for name in worlds[0]:
        means = [sum(world[name][place] for world in worlds) / len(worlds) for place in range(len(heads))]
        print(f"{name:18}" + "".join(f"{value:16.1f}" for value in means))
    print(f"peaks in calls a minute, of {QUOTA}; the longest wait in minutes")


if __name__ == "__main__":
    main()
