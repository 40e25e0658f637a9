"""How fast a request for access is judged: 10,000 policies and 100,000 subjects, compared with checking every policy.

    python benchmarks/access.py [--policies 10000] [--subjects 100000] [--groups 5000] [--requests 2000]

Every subject is in five groups. Half of the policies name groups, half single entities, each with conditions. Times
are medians of wall time for one request, in milliseconds, next to the 99th percentile and the slowest.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.choice import About
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.grants.policies import PolicyIndex, rule

NAIVE = 20
"""Requests for the naive side, which is slow."""


def policies(count: int, subjects: int, groups: int, random_: random.Random) -> dict[str, AccessPolicySettings]:
    """Policies, each about a folder of secrets."""
    made = {}
    for number in range(count):
        who = (
            {"groups": [f"g-{random_.randrange(groups)}" for _ in range(1)]}
            if number % 2
            else {"entities": sorted({f"e-{random_.randrange(subjects)}" for _ in range(20)})}
        )
        made[f"p-{number}"] = AccessPolicySettings.model_validate(
            {
                "paths": [f"team-{number % 200}/**"],
                "subjects": who,
                "credential": "database/creds/reader",
                "approvers": ["ana", "bea"],
                "conditions": {"hours": {"from": "06:00", "to": "22:00"}, "incident": "none"},
            }
        )
    return made


def requests(count: int, subjects: int, groups: int, random_: random.Random) -> list[AccessFacts]:
    """Requests by random subjects for random secrets."""
    now, about = datetime(2026, 11, 27, 12, tzinfo=UTC), About("a@example.com", "internal")
    return [
        AccessFacts(
            Subject(f"e-{random_.randrange(subjects)}", frozenset(f"g-{random_.randrange(groups)}" for _ in range(5))),
            f"team-{random_.randrange(200)}/db/{number}",
            about,
            timedelta(hours=1),
            now,
            incident=False,
        )
        for number in range(count)
    ]


def measured(work: Callable[[AccessFacts], object], wanted: list[AccessFacts]) -> str:
    """The median, the 99th percentile and the slowest, in milliseconds."""
    times = []
    for facts in wanted:
        began = time.perf_counter()
        work(facts)
        times.append(1000 * (time.perf_counter() - began))
    times.sort()
    late = times[len(times) * 99 // 100]
    return f"median {statistics.median(times):.3f} ms, 99th percentile {late:.3f} ms, slowest {times[-1]:.3f} ms"


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("policies", 10_000), ("subjects", 100_000), ("groups", 5_000), ("requests", 2_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    random_ = random.Random(7)  # noqa: S311  # the same numbers every time
    declared = policies(options.policies, options.subjects, options.groups, random_)
    wanted = requests(options.requests, options.subjects, options.groups, random_)
    began = time.perf_counter()
    index = PolicyIndex(declared)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
    print(f"the index is made in {1000 * (time.perf_counter() - began):.0f} ms")
    print(f"by the index: {measured(index.decide, wanted)}")

    def naive(facts: AccessFacts) -> object:
        return [
            rule(name, policy, facts) for name, policy in declared.items() if policy.covers(facts.path, facts.about)
        ]

    print(f"a look at every policy: {measured(naive, wanted[:NAIVE])}")


if __name__ == "__main__":
    main()
